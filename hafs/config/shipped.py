"""Where the configs and sample data that hafs ships are: in the installed package, or in a source checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_RENAMED = {"routing_lessons.jsonl": "routing_training_questions.jsonl"}
"""Files of release 0.1, which a router in the user's `./conf` may name until 0.3."""


def conf_folder() -> Path:
    """The shipped `conf/`: inside the installed package, or next to it in a source checkout."""
    candidates = (_PACKAGE / "conf", _PACKAGE.parent / "conf")
    return next(path for path in candidates if (path / "train.yaml").is_file())


def shipped(name: str, edition: str | None = None) -> str:
    """The path of a file in the shipped `data/`; of its edition, `rows.asar.jsonl` for `asar`, where it has one."""
    name = _RENAMED.get(name, name)
    stem, _, suffix = name.rpartition(".")
    if edition and Path(own := shipped(f"{stem}.{edition}.{suffix}")).exists():
        return own
    candidates = (_PACKAGE / "sample_data", _PACKAGE.parent / "data")
    return str(next((path / name for path in candidates if (path / name).exists()), candidates[-1] / name))
