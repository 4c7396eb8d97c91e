"""Resolves names on this machine: a model of `conf/model/`, an adapter in a folder."""

from pathlib import Path

from hafs.core.errors import ConfigError


def known_model(name: str) -> None:
    """Raise for an unknown model.

    Raises:
        ConfigError: The model is unknown; the hint has the nearest name.
    """
    from hafs.config.check import did_you_mean
    from hafs.config.tree import options

    known = options("model")
    if name not in known:
        raise ConfigError(
            f"there is no model {name!r} for provider=local", hint=did_you_mean(name, known) + " (files of conf/model/)"
        )


def adapter_folder(name: str) -> Path:
    """The folder of an adapter, from a folder, a run folder, or a run's name under outputs/.

    Raises:
        ConfigError: There is none of that name.
    """
    from hafs.modeling.adapter.folder import CONFIG

    for folder in (Path(name), Path(name) / "adapter", Path("outputs") / name / "adapter"):
        if (folder / CONFIG).is_file():
            return folder.resolve()
    raise ConfigError(
        f"there is no adapter {name!r}", hint=f"train it (hafs train name={Path(name).name}), or give its folder"
    )
