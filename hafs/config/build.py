"""From a config node to an object: the only wrapper of Hydra's `instantiate`."""

import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from hafs.config.earlier import renew_node
from hafs.config.extras import MissingPackage, missing_extra
from hafs.config.group_map import in_modules, modules
from hafs.config.plugins import plugins
from hafs.core.errors import ConfigError

CHAT_MODELS = (
    "langchain_anthropic", "langchain_aws", "langchain_cohere", "langchain_deepseek", "langchain_fireworks",
    "langchain_google_genai", "langchain_google_vertexai", "langchain_groq", "langchain_ibm", "langchain_mistralai",
    "langchain_nvidia_ai_endpoints", "langchain_ollama", "langchain_openai", "langchain_openrouter",
    "langchain_perplexity", "langchain_together", "langchain_xai",
)  # fmt: skip
"""LangChain's packages of hosts, for `provider=langchain`; those that run models in the process are left out."""
FOREIGN = (
    "pytorch_lightning.callbacks", "pytorch_lightning.loggers", "pytorch_lightning.strategies", "torch.optim",
    *CHAT_MODELS,
)  # fmt: skip
"""Libraries whose classes a `_target_` may name. Hydra's own blocklist is not a boundary: it allows `torch.load`."""
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


def targets(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node with a `_target_`, with its dotted path, outermost first."""
    if isinstance(node, DictConfig):
        if node._is_none() or node._is_missing() or OmegaConf.is_missing(node, "_target_"):
            return
        if "_target_" in node:
            yield path, node
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from targets(node._get_node(key), f"{path}.{key}".strip("."))
    elif isinstance(node, ListConfig) and not node._is_none():
        for i in range(len(node)):
            yield from targets(node._get_node(i), f"{path}[{i}]")


def renew(node: Any) -> list[str]:
    """Bring the nodes of an earlier release up to date, in place; returns one line per replaced name."""
    return list(dict.fromkeys(line for _, sub in targets(node) if (line := renew_node(sub))))


def refuse_foreign(node: Any, where: str = "") -> None:
    """Reject a `_target_` outside the allowlist.

    Args:
        node: Checked together with all nodes inside it.
        where: Its dotted path, for the message.

    Raises:
        ConfigError: A `_target_` names something that a config may not call.
    """
    later: list[str] = []  # inside these, a package that is not installed is missed only when it is used
    for path, sub in targets(node, where):
        target = str(sub["_target_"])
        if sub.get("_recursive_") is False:
            later.append(f"{path}.")
        try:
            allowed = _may_be_called(target)
        except MissingPackage:
            if not path.startswith(tuple(later)):
                raise
            continue
        if not allowed:
            raise ConfigError(
                f"{path or 'the node'}._target_ names {target!r}, which a config may not call",
                hint=f"allowed: the classes of hafs' config groups, pytorch_lightning.Trainer, {', '.join(FOREIGN)}; "
                "for a module of your own, set HAFS_PLUGINS=NAME",
            )


def _may_be_called(target: str) -> bool:
    """Whether the name is a public function or class of a module in the group map, or a class of a few libraries.

    What such a module only imports (`hafs.core.durable.os.system`, `torch.optim.adam.torch.load`) is rejected.
    """
    if not _NAME.fullmatch(target):
        return False
    if target == "pytorch_lightning.Trainer":
        return True
    module, _, name = target.rpartition(".")
    if not in_modules(module, modules()):
        return is_class_of(target, (*FOREIGN, *plugins()))
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        _raise_if_extra_is_missing(error)
        return module in modules()  # the module of a group does not load: `check` reports why
    home = str(getattr(found, "__module__", ""))
    return found is None or ((inspect.isroutine(found) or inspect.isclass(found)) and home.startswith("hafs."))


def is_class_of(target: str, libraries: Iterable[str]) -> bool:
    """Whether the name is a class that one of these libraries defines, not one that it imports from another library.

    A name that the module does not have passes: the lookup that follows gives a better message.

    Args:
        target: A dotted name.
        libraries: Dotted names of modules; their submodules count.
    """
    module, _, name = target.rpartition(".")
    if not f"{module}.".startswith(tuple(f"{library}." for library in libraries)):
        return False
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        _raise_if_extra_is_missing(error)
        return False
    return found is None or (inspect.isclass(found) and found.__module__.split(".")[0] == module.split(".")[0])


def _raise_if_extra_is_missing(error: ImportError) -> None:
    """Raise the error that names the extra, if an extra of hafs provides the module."""
    if missing := missing_extra(error):
        raise missing from error


def build(node: Any, **runtime: Any) -> Any:
    """Build the object that a node describes.

    Args:
        node: With a `_target_`; null gives None.
        runtime: Arguments that exist only at run time, such as tensors and other objects.

    Raises:
        ConfigError: The node, or one inside it, names a `_target_` outside the allowlist.
    """
    if node is None:
        return None
    renew(node)
    refuse_foreign(node)
    if runtime:
        return instantiate(node, _convert_="object", _partial_=True)(**runtime)
    return instantiate(node, _convert_="object")
