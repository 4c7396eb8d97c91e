"""Packages that only some commands need: which extra of hafs brings one that is not installed."""

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata

from hafs.core.errors import ConfigError

PURPOSES = {
    "train": "to train and evaluate",
    "local": "to run models on this machine",
    "dashboard": "to watch runs",
    "ollama": "to ask a server of Ollama",
    "llamacpp": "to run llama.cpp",
    "lm-eval": "to run tasks of lm-eval",
    "wandb": "to log to Weights & Biases",
    "gpu": "to read a GPU's load",
}
"""What each extra of `pyproject.toml` is for; the order in which they are offered."""
_DISTRIBUTIONS = {"pynvml": "nvidia-ml-py"}
"""Modules that are not named like the package that has them."""
_DECLARED = re.compile(r"""([\w.-]+)(?:\[([\w, .-]+)\])?.*;.*extra == ['"]([\w.-]+)['"]""")


class MissingExtra(ConfigError):
    """A package is not installed that an extra of hafs brings."""


def missing_extra(error: BaseException | None) -> MissingExtra | None:
    """What to tell people about a failed import.

    Args:
        error: It, or an error that it caused.

    Returns:
        None where no import failed, or one of a module that no extra of hafs has.
    """
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    module = str(getattr(error, "name", None) or "").partition(".")[0]
    if not module or not extras_with(module):
        return None
    return MissingExtra(f"this needs {module}, which is not installed", hint=how_to_install(module))


def how_to_install(module: str) -> str:
    """What to type for a module that is missing."""
    ways = [f"pip install 'hafs[{name}]' {PURPOSES[name]}" for name in extras_with(module)]
    return ", or ".join(ways) or f"pip install {module}"


@cache
def installed(module: str) -> bool:
    """Whether a top-level module could be imported; looked up once."""
    return importlib.util.find_spec(module) is not None


def extras_with(module: str) -> list[str]:
    """Extras that bring a module, by themselves or by another extra; best first."""
    declared, package = _declared(), _normal(_DISTRIBUTIONS.get(module, module))

    def brought(extra: str) -> Iterator[str]:
        for name in declared.get(extra, ()):
            yield from brought(name.removeprefix("hafs ")) if name.startswith("hafs ") else (name,)

    return [extra for extra in PURPOSES if package in brought(extra)]


@cache
def _declared() -> dict[str, list[str]]:
    """By extra: the packages that it names, and `hafs EXTRA` for another extra."""
    found: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("hafs") or []
    except metadata.PackageNotFoundError:  # a folder of the source that was never installed
        lines = []
    for line in lines:
        if match := _DECLARED.match(line):
            name, others, extra = match.groups()
            names = [f"hafs {other.strip()}" for other in others.split(",")] if others else [_normal(name)]
            found.setdefault(_normal(extra), []).extend(names)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
