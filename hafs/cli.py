"""The installed script: `hafs COMMAND ...`, the same as `python -m hafs COMMAND ...`, with tab completion."""

import ast
import importlib
import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COMPLETION = """_hafs() {
  COMP_WORDBREAKS=${COMP_WORDBREAKS//[=,]/}
  COMPREPLY=($(COMP_LINE="${COMP_LINE:0:COMP_POINT}" hafs --complete 2>/dev/null))
}
complete -o nospace -F _hafs hafs
"""
SHORT = {"runs": ("dashboard", "table=true", "A table of runs: status, stage, step, loss, best, time left.")}
"""Short forms: the command they stand for, its override, and their line in the overview."""
RENAMED = {"rollback": "revert"}
"""Commands by their names in 0.1; the old names work until 0.3."""
_PACKAGE = Path(__file__).parent


def commands() -> list[str]:
    """Names of the commands: `train`, and every module of `hafs.commands`."""
    return sorted(["train", *(path.stem for path in (_PACKAGE / "commands").glob("[a-z]*.py"))])


def module_of(command: str) -> str:
    """Dotted name of the module of a command."""
    return f"hafs.{command}" if command == "train" else f"hafs.commands.{command}"


def main() -> None:
    """Find the command and run it."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--complete"]:
        from hafs.config.completion import complete

        print("\n".join(complete(_completed(os.environ.get("COMP_LINE", "")), [*commands(), *SHORT])))
    elif arguments[:2] == ["completion", "bash"]:
        print(COMPLETION, end="")
    elif not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
    elif arguments[0] in ("-V", "--version"):
        print(_version())
    elif arguments[0] in commands():
        _enter(arguments[0], arguments[1:])
    elif arguments[0] in RENAMED:
        now = RENAMED[arguments[0]]
        print(f"hafs: {arguments[0]} is now hafs {now}; the old name works until 0.3", file=sys.stderr)
        _enter(now, arguments[1:])
    elif arguments[0] in SHORT:
        command, override, _ = SHORT[arguments[0]]
        _enter(command, [override, *arguments[1:]])
    else:
        from hafs.config.check import did_you_mean

        hint = did_you_mean(arguments[0], [*commands(), *SHORT])
        print(f"hafs: there is no command {arguments[0]!r}\n-> {hint}", file=sys.stderr)
        sys.exit(2)


def _completed(line: str) -> str:
    """The line, with a complete short form replaced by its command."""
    arguments = line.split(" ")
    if len(arguments) > 2 and arguments[1] in SHORT:
        arguments[1] = SHORT[arguments[1]][0]
    return " ".join(arguments)


def _enter(command: str, arguments: list[str]) -> None:
    name = module_of(command)
    # Lightning starts its processes for further devices by this name: python -m hafs.train ...
    sys.modules["__main__"].__spec__ = importlib.util.find_spec(name)
    sys.argv = [name, *arguments]
    importlib.import_module(name).main()


def _version() -> str:
    """Of the installed package; a source folder that was never installed has none."""
    try:
        return f"hafs {version('hafs')}"
    except PackageNotFoundError:
        return "hafs (not installed: run from its source)"


def _overview() -> str:
    lines = [f"{_version()}: from JSONL to fine-tuned experts and one assistant that routes between them", ""]
    for command in commands():
        path = _PACKAGE.joinpath(*module_of(command).split(".")[1:]).with_suffix(".py")
        arguments = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"  hafs {command:<12} {arguments.splitlines()[0]}")
    lines += [f"  hafs {name:<12} {arguments}" for name, (_, _, arguments) in SHORT.items()]
    lines += [
        "",
        "hafs --version prints the version",
        'hafs COMMAND --help says more; tab completion: eval "$(hafs completion bash)"',
    ]
    return "\n".join(lines)
