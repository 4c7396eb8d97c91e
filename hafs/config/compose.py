"""Composing a config without a command line."""

from collections.abc import Sequence

from omegaconf import DictConfig

from hafs.config.explain import explain
from hafs.config.tree import composed, drop_unchosen
from hafs.config.words import rewrite


def compose(door: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config a door would get for these words, without running it.

    Args:
        door: Name of a primary config: `train`, `validate`, ...
        overrides: Words as typed on the command line.

    Raises:
        ConfigError: A word is malformed, or names a group, option or key that does not exist.
    """
    words = rewrite(overrides, demo=door == "train")
    try:
        config = composed(door, words)
        drop_unchosen(config, words)
        return config
    except Exception as error:
        raise explain(error, door, words) or error from error
