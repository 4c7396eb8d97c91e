"""Pages of the reference, made from the code and from `conf/` while MkDocs builds: a page a command, a page a group."""

import ast
import inspect
import itertools
import re
from collections.abc import Iterator
from importlib import import_module
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import mkdocs_gen_files
from hydra.utils import get_object

from hafs.cli import SHORT, commands, module_of
from hafs.config import conf_folder
from hafs.config.tree import groups

CONF = conf_folder()
_LINE = re.compile(r"^( *)([\w.-]+):(?: ([^#]*?))?(?: +# (.*))?$")


def write(name: str, text: str) -> None:
    """A page of the manual."""
    with mkdocs_gen_files.open(name, "w") as page:
        page.write(text.rstrip() + "\n")


def cell(text: str) -> str:
    """Text in a table, between backticks."""
    return text.replace("|", "\\|").replace("\n", " ")


def prose(text: str) -> str:
    """Text whose underscores, stars and angle brackets mean themselves, where they are not between backticks."""
    parts = text.replace("\n", " ").split("`")
    plain = [re.sub(r"([_*<|\[])", r"\\\1", part) if i % 2 == 0 else cell(part) for i, part in enumerate(parts)]
    return "`".join(plain)


def comments(text: str) -> str:
    """The lines of comment a file begins with, as prose."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    kept = []
    for line in lines:
        if not line.startswith("#"):
            break
        kept.append(line.removeprefix("#").strip())
    return prose(" ".join(kept))


def keys(text: str) -> Iterator[tuple[str, str, str]]:
    """Key, value and comment of each line that sets one; of a component inside, its class and what that says."""
    inside: list[tuple[int, str]] = []
    for line in text.split("\nhydra:", maxsplit=1)[0].splitlines():
        found = _LINE.match(line)
        if not found or found[2] == "defaults" or line.startswith("#"):
            continue
        depth = len(found[1])
        inside = [pair for pair in inside if pair[0] < depth]
        path, value, comment = [name for _, name in inside], (found[3] or "").strip(), found[4] or ""
        if found[2] == "_target_":
            if path:
                yield ".".join(path), value.rpartition(".")[2], (inspect.getdoc(get_object(value)) or "").split("\n")[0]
            continue
        if value or comment or not text[text.index(line) + len(line) :].lstrip("\n ").startswith("_target_"):
            yield ".".join([*path, found[2]]), value or "...", comment
        inside.append((depth, found[2]))


def builder_of(text: str) -> Any:
    """What the first `_target_` of a file names; None where there is none."""
    found = re.search(r"^_target_: ([\w.]+)$", text, re.MULTILINE)
    return get_object(found[1]) if found else None


def types_of(builder: Any) -> dict[str, str]:
    """The type of each parameter, without limits and names of modules."""
    owner = builder.__init__ if inspect.isclass(builder) and "__init__" in vars(builder) else builder
    try:
        return {name: spelled(hint) for name, hint in get_type_hints(owner).items() if name != "return"}
    except (NameError, TypeError):
        return {}


def spelled(hint: Any) -> str:
    """A type as people write it: `int or null`, `constant or linear`, `list of str`."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " or ".join(map(spelled, inside))
    if hint is type(None):
        return "null"
    name = getattr(origin or hint, "__name__", str(hint))
    parts = [spelled(part) for part in inside if part is not Ellipsis]
    return f"{name} of {', '.join(parts)}" if parts else name


def documented(builder: Any) -> dict[str, str]:
    """What a builder's docstring or a class's fields say of each key."""
    if builder is None or not str(getattr(builder, "__module__", "")).startswith("hafs"):
        return {}
    found = {}
    if inspect.isclass(builder):
        body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(builder))).body[0].body
        for field, said in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant):
                found[field.target.id] = " ".join(str(said.value.value).split())
    arguments = re.search(r"Args:\n((?: {4}.*\n?)+)", inspect.getdoc(builder) or "")
    for name, said in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments[1] if arguments else "", re.MULTILINE):
        found[name] = " ".join(said.split())
    return found


def table(text: str, builder: Any) -> str:
    """Keys of a file with their values, types and meaning."""
    types, said = types_of(builder), documented(builder)
    rows = [
        f"| `{key}` | `{cell(value)}` | {'`' + cell(types[key]) + '`' if key in types else ''} "
        f"| {prose(comment or said.get(key, ''))} |"
        for key, value, comment in keys(text)
    ]
    return "\n".join(["| key | value | type | meaning |", "|---|---|---|---|", *rows]) if rows else ""


def group_page(group: str) -> str:
    """All options of a config group."""
    parts = [f"# {group}", f"Chosen with `{group}=OPTION`; a file in your own `./conf/{group}/` is one more option."]
    for path in sorted((CONF / group).glob("*.yaml")):
        text = path.read_text()
        builder = builder_of(text)
        built = f"Builds `{builder.__module__}.{builder.__qualname__}`." if builder is not None else ""
        source = f'??? quote "conf/{group}/{path.name}"\n\n    ```yaml\n' + "".join(
            f"    {line}\n" for line in text.splitlines()
        )
        parts += [f"## {group}={path.stem}", comments(text), built, table(text, builder), source + "    ```"]
    return "\n\n".join(part for part in parts if part)


def command_page(name: str) -> str:
    """What a command does, how it is called, its groups and its values."""
    module = import_module(module_of(name))
    first, _, rest = (inspect.getdoc(module) or "").partition("\n")
    body = re.sub(r"((?:^ {4}.*\n?)+)", lambda found: found[1], rest.strip("\n"), flags=re.MULTILINE)
    text = (CONF / f"{name}.yaml").read_text()
    chosen = [
        (found[1], found[2])
        for found in re.finditer(r"^  - (\w+): (.+)$", text.split("\n\n", 1)[0], re.MULTILINE)
        if found[1] in groups()
    ]
    listed = "\n".join(f"| [{group}](../config/{group}.md) | `{default}` |" for group, default in chosen)
    parts = [f"# hafs {name}", prose(first), body]
    if listed:
        parts += ["## Config groups", "| group | default |\n|---|---|\n" + listed]
    if values := table(text.split("\n\n", 1)[-1], None).replace("| type ", "").replace("|  | ", "| "):
        parts += ["## Values", values.replace("|---|---|---|---|", "|---|---|---|")]
    return "\n\n".join(parts)


def index(title: str, intro: str, folder: str, lines: dict[str, str]) -> None:
    """The first page of a part, and its place in the navigation."""
    rows = "\n".join(f"| [{name}]({name}.md) | {prose(said)} |" for name, said in lines.items())
    write(f"reference/{folder}/index.md", f"# {title}\n\n{intro}\n\n| | |\n|---|---|\n{rows}")
    nav = "\n".join([f"* [{title}](index.md)", *(f"* [{name}]({name}.md)" for name in lines)])
    write(f"reference/{folder}/SUMMARY.md", nav)


def main() -> None:
    """All pages."""
    said = {}
    for name in commands():
        write(f"reference/commands/{name}.md", command_page(name))
        said[name] = (inspect.getdoc(import_module(module_of(name))) or "").splitlines()[0]
    short = "; ".join(f"`hafs {name}` is `hafs {command} {word}`" for name, (command, word, _) in SHORT.items())
    intro = f"`hafs NAME` and `python -m hafs NAME` are the same. Short forms: {short}."
    index("Commands", intro, "commands", said)
    said = {}
    for group in groups():
        write(f"reference/config/{group}.md", group_page(group))
        said[group] = ", ".join(f"`{path.stem}`" for path in sorted((CONF / group).glob("*.yaml")))
    intro = (
        "Every config group is a folder in `conf/`; an option is a file in it. Any key can be set on the command line."
    )
    index("Configuration", intro, "config", said)


main()
