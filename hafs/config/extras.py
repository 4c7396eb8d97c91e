"""Packages that only some commands need: finds the extra of hafs that provides a missing one."""

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
    "langchain-openai": "to ask OpenAI or Azure through LangChain",
    "llamacpp": "to run llama.cpp",
    "otel": "to export traces",
    "lm-eval": "to run tasks of lm-eval",
    "wandb": "to log to Weights & Biases",
    "mlflow": "to log to MLflow",
    "trackio": "to log to Trackio",
    "rom": "to assemble 65816 code",
    "gpu": "to read a GPU's load",
    "mcp": "to offer the council as a tool",
}
"""What each extra of `pyproject.toml` is for, in the order in which they are offered."""
_DISTRIBUTIONS = {"pynvml": "nvidia-ml-py", "mlflow": "mlflow-skinny"}
"""Packages whose name differs from their module's."""
_DECLARED = re.compile(r"""([\w.-]+)(?:\[([\w, .-]+)\])?.*;.*extra == ['"]([\w.-]+)['"]""")


class MissingPackage(ConfigError):
    """A package that the command needs is not installed."""


def missing_extra(error: BaseException | None) -> MissingPackage | None:
    """The error to report for a failed import.

    Args:
        error: The import error, or an error that it caused.

    Returns:
        None if no import failed, if no extra of hafs provides the module, or if it is installed and lacks a submodule.
    """
    while error is not None and not isinstance(error, ModuleNotFoundError | MissingPackage):
        error = error.__cause__ or error.__context__
    if isinstance(error, MissingPackage):
        return error
    module = str(getattr(error, "name", None) or "").partition(".")[0]
    if not module or not extras_with(module) or installed(module):
        return None
    return MissingPackage(f"this needs {module}, which is not installed", hint=how_to_install(module))


def how_to_install(module: str) -> str:
    """The pip command that installs a missing module."""
    ways = [f"pip install 'hafs[{name}]' {PURPOSES[name]}" for name in extras_with(module)]
    return ", or ".join(ways) or f"pip install {module}"


@cache
def installed(module: str) -> bool:
    """Whether a top-level module can be imported; looked up once per process."""
    return importlib.util.find_spec(module) is not None


def extras_with(module: str) -> list[str]:
    """Extras that provide a module, directly or through another extra; the best one first."""
    declared, package = _declared(), _normal(_DISTRIBUTIONS.get(module, module))

    def provided(extra: str) -> Iterator[str]:
        for name in declared.get(extra, ()):
            yield from provided(name.removeprefix("hafs ")) if name.startswith("hafs ") else (name,)

    return [extra for extra in PURPOSES if package in provided(extra)]


@cache
def _declared() -> dict[str, list[str]]:
    """By extra: the packages that it lists, and `hafs EXTRA` for another extra that it includes."""
    found: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("hafs") or []
    except metadata.PackageNotFoundError:  # run from a source folder that was never installed
        lines = []
    for line in lines:
        if match := _DECLARED.match(line):
            name, others, extra = match.groups()
            names = [f"hafs {other.strip()}" for other in others.split(",")] if others else [_normal(name)]
            found.setdefault(_normal(extra), []).extend(names)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
