"""The check of a composed config: reports all its errors together, before anything is loaded."""

import difflib
import inspect
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from hafs.config.build import refuse_foreign, renew, targets
from hafs.config.earlier import renew_keys
from hafs.config.extras import missing_extra
from hafs.config.own_options import place
from hafs.core.errors import ConfigError

_SECRET_KEY = re.compile(r"(^|_)(api_?key|secret|password|passwd|auth_?token|access_?token)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\b(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|AIza[\w-]{20,})")
_REMEDIES = ("did you mean", "known:", "set ", "for example", "name its environment variable")
"""How the second half of a problem begins, where it says what to do."""
_RUNTIME = {"parameters", "save_dir"}
"""Arguments that come at run time: an optimizer's parameters, a logger's folder."""
_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the closest known word, else the list of known words; empty if there are none."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known)}" if known else ""


def check(
    config: DictConfig, settings: type | None = None, *, unused: Collection[str] = (), command: str = "COMMAND"
) -> None:
    """Check a composed config against the signatures of the classes and functions that it names.

    Args:
        config: The whole composed config of a command.
        settings: A TypedDict of the command's own top-level keys.
        unused: Top-level keys that are not checked, because this command builds nothing from them.
        command: Whose help the hint names.

    Raises:
        ConfigError: One line per wrong type, unknown key, impossible value, missing value and plain-text secret.
    """
    for line in [*renew_keys(config), *renew(config)]:
        print(f"hafs: {line}", file=sys.stderr)
    for key in config:  # a lookup imports the module, so only keys that will be built are looked at
        if key not in unused and OmegaConf.is_config(child := config._get_node(key)):
            refuse_foreign(child, str(key))
    problems = [*_unresolvable(config), *_secrets(config)]
    if not problems:
        if settings:
            hints = get_type_hints(settings, include_extras=True)
            problems += _values({key: config[key] for key in hints if key in config}, hints, "")
        later: list[str] = []  # what is built inside these is built when it is first used
        for path, node in targets(config):
            if node.get("_recursive_") is False:
                later.append(f"{path}.")
            if path.split(".")[0] not in unused:
                problems += _node(path, node, later=path.startswith(tuple(later)))
    if problems:
        raise _refusal(list(dict.fromkeys(problems)), command)


def _refusal(problems: Sequence[str], command: str) -> ConfigError:
    """The error for all problems; how to fix a single one is its hint."""
    fact, cut, remedy = problems[0].partition("; ")
    if len(problems) == 1 and cut and remedy.startswith(_REMEDIES):
        return ConfigError(fact, hint=remedy)
    return ConfigError("\n".join(problems), hint=f"hafs {command} --help lists its keys and options")


def _unresolvable(config: DictConfig) -> list[str]:
    missing = [f"{key} has no value; set {key}=..." for key in sorted(_missing_keys(config))]
    if missing:
        return missing
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return [f"{error.full_key or 'the config'}: {str(error).splitlines()[0]}"]
    return []


def _missing_keys(config: DictConfig) -> set[str]:
    try:
        return OmegaConf.missing_keys(config)
    except InterpolationToMissingValueError as error:  # a value that is made from the missing one
        return {str(error).splitlines()[0].rsplit(" ", 1)[-1]}


def refuse_secrets(config: DictConfig) -> None:
    """Reject a config with a plain-text secret, before Hydra writes it into the folders of a sweep.

    Raises:
        ConfigError: One line per secret.
    """
    if problems := _secrets(config):
        raise ConfigError("\n".join(problems))


def _secrets(config: DictConfig) -> list[str]:
    found = []
    for path, value in _leaves(OmegaConf.to_container(config, resolve=False)):
        key = path.rsplit(".", 1)[-1]
        named = isinstance(value, str) and (not value or value.startswith("${"))
        if isinstance(value, str) and not named and (_SECRET_KEY.search(key) or _SECRET_VALUE.search(value)):
            found.append(
                f"{path} contains a secret in plain text; name its environment variable instead: {key}_env: MY_VARIABLE"
            )
    return found


def refuse_typed(arguments: Iterable[str]) -> None:
    """Reject arguments that must not reach Hydra, which writes them to disk and acts on its own nodes.

    Raises:
        ConfigError: An argument contains a plain-text secret, sets a `_target_` of Hydra's, or is not UTF-8.
    """
    for argument in arguments:
        if not argument.isascii() and _is_malformed(argument):
            raise ConfigError(f"{argument!r} is not valid text: it contains bytes that are not UTF-8")
        key, equals, value = argument.lstrip("+~").partition("=")
        last = key.rsplit(".", 1)[-1]
        if key.startswith("hydra.") and last == "_target_":
            raise ConfigError(
                f"{key} cannot be set on the command line", hint="hafs decides which classes Hydra may call"
            )
        named = not value or value.startswith(("$", "'$", '"$'))
        if equals and not named and (_SECRET_KEY.search(last) or _SECRET_VALUE.search(value)):
            raise ConfigError(
                f"{key} contains a secret in plain text",
                hint=f"name its environment variable instead: {last}_env=MY_VARIABLE",
            )


def _is_malformed(text: str) -> bool:
    """Whether the text contains a lone surrogate, Python's stand-in for a byte that is not UTF-8."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _leaves(node: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}".strip("."))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _leaves(value, f"{path}[{i}]")
    else:
        yield path, node


def _node(path: str, node: DictConfig, *, later: bool) -> list[str]:
    """What is wrong with one node. One that is built later may need a package that is not installed."""
    target = str(node["_target_"])
    try:
        builder = get_object(target)
    except Exception as error:
        if missing := missing_extra(error):
            if later:
                return []
            raise missing from error
        return [f"{path}._target_{place(path)} {target!r} cannot be imported: {error}"]
    parameters = inspect.signature(builder).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    given: dict[str, Any] = {str(key): node[key] for key in node if key not in _HYDRA_KEYS}
    unknown = [] if open_ended else [key for key in given if key not in parameters]
    own = place(path)
    problems = [f"{path}{own} has no {key!r}; {did_you_mean(key, parameters)}".rstrip("; ") for key in unknown]
    if target.startswith("hafs."):
        problems += [f"{path}{own} lacks the key {key!r}" for key in _left_out(given, parameters)]
    check_more: Any = getattr(builder, "check", None)  # a builder with open-ended arguments checks them itself
    if check_more is not None:
        problems += [f"{path}.{line}" for line in check_more(given)]
    return problems + _values(given, _hints(builder), f"{path}.")


def _left_out(given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """Parameters without a default that the node does not give, apart from those that exist only at run time."""
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind in plain and name not in {*given, *_RUNTIME}
    ]


def _hints(builder: Any) -> dict[str, Any]:
    owner = builder.__init__ if inspect.isclass(builder) and "__init__" in vars(builder) else builder
    try:
        return get_type_hints(owner, include_extras=True)
    except (NameError, TypeError):
        return {}


def _values(given: Mapping[str, Any], hints: Mapping[str, Any], prefix: str) -> list[str]:
    problems = []
    for key, value in given.items():
        if key not in hints or (isinstance(value, DictConfig) and any(True for _ in targets(value))):
            continue
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        problem = _mismatch(plain, hints[key])
        if problem:
            problems.append(f"{prefix}{key}{place(prefix + key)} is {plain!r}: {problem}")
    return problems


def _mismatch(value: Any, hint: Any) -> str | None:
    """Why the value has the wrong type, as pydantic says it; None if it is valid or cannot be checked."""
    adapter = _adapter(hint)
    if adapter is None:
        return None
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        reasons = [e["msg"].removeprefix("Value error, ") for e in error.errors()]
        return "; or ".join(dict.fromkeys(reason[0].lower() + reason[1:] for reason in reasons))
    return None


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """A strict validator ("8" is not a number, 1 is not a boolean); None for types unknown to pydantic."""
    for settings in (ConfigDict(strict=True), None):  # a type with its own pydantic config accepts no other
        try:
            return TypeAdapter(hint, config=settings)
        except PydanticUserError:
            continue
    return None
