"""The installed script: `hafs COMMAND ...` is `python -m hafs.COMMAND ...`, with tab completion."""

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
"""Short forms: the command they are, the word they stand for, and their line in the overview."""


def commands() -> list[str]:
    """Names of the commands: every primary config that has a module of its name."""
    from hafs.config import conf_folder

    return sorted(
        path.stem for path in conf_folder().glob("*.yaml") if (Path(__file__).parent / f"{path.stem}.py").exists()
    )


def main() -> None:
    """Find the command and go through it."""
    words = sys.argv[1:]
    if words[:1] == ["--complete"]:
        from hafs.config.completion import complete

        print("\n".join(complete(_completed(os.environ.get("COMP_LINE", "")), [*commands(), *SHORT])))
    elif words[:2] == ["completion", "bash"]:
        print(COMPLETION, end="")
    elif not words or words[0] in ("-h", "--help"):
        print(_overview())
    elif words[0] in ("-V", "--version"):
        print(_version())
    elif words[0] in commands():
        _enter(words[0], words[1:])
    elif words[0] in SHORT:
        command, word, _ = SHORT[words[0]]
        _enter(command, [word, *words[1:]])
    else:
        from hafs.config.check import did_you_mean

        print(
            f"hafs: there is no command {words[0]!r}\n-> {did_you_mean(words[0], [*commands(), *SHORT])}",
            file=sys.stderr,
        )
        sys.exit(2)


def _completed(line: str) -> str:
    """A line with its short form, once it is whole, written out."""
    words = line.split(" ")
    if len(words) > 2 and words[1] in SHORT:
        words[1] = SHORT[words[1]][0]
    return " ".join(words)


def _enter(command: str, words: list[str]) -> None:
    name = f"hafs.{command}"
    # processes that Lightning starts for more devices are started as this one says it was: python -m hafs.train ...
    sys.modules["__main__"].__spec__ = importlib.util.find_spec(name)
    sys.argv = [name, *words]
    importlib.import_module(name).main()


def _version() -> str:
    """Of the installed package; a folder of the source that was never installed has none."""
    try:
        return f"hafs {version('hafs')}"
    except PackageNotFoundError:
        return "hafs (not installed: run from its source)"


def _overview() -> str:
    lines = [f"{_version()}: raw JSONL to a routed council of fine-tuned experts", ""]
    for command in commands():
        words = (
            ast.get_docstring(ast.parse((Path(__file__).parent / f"{command}.py").read_text(encoding="utf-8"))) or ""
        )
        lines.append(f"  hafs {command:<12} {words.splitlines()[0]}")
    lines += [f"  hafs {name:<12} {words}" for name, (_, _, words) in SHORT.items()]
    lines += [
        "",
        "hafs --version, hafs --help",
        'hafs COMMAND --help tells more; tab completion: eval "$(hafs completion bash)"',
    ]
    return "\n".join(lines)
