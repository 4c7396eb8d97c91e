"""The layout and the words of the project: what a newcomer relies on when looking for something."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent.name for path in (ROOT / "hafs").glob("*/__init__.py"))
FILES = sorted((ROOT / "hafs").rglob("*.py"))

PLAIN = {
    "yours to mend": "user error",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bsurely (better|worse)\b": "significantly better on",
    r"\bheld against\b": "compared with",
    r"\b(whoever|somebody)\b": "name who does it",
    r"\b(nats|bytes|seconds|tokens) a (token|row|second|step|sample)\b": "per token",
    r"\bfront doors?\b": "command",
    r"\bnumbers that are none\b": "contains NaN or infinity",
    r"\bin clear to\b": "plain HTTP",
    r"\b(tokens|answers|threads|steps|requests|rows) at once\b": "concurrently, or immediately",
    r"\banew\b": "again",
    r"\b(nobody|everybody)('s)?\b": "no request, every user, ...",
    r"\bon (their|its) way\b": "in flight",
    r"\bin the making\b": "being generated",
    r"\bat rest\b": "set for inference, idle",
    r"\bmore than words\b": "a text search",
    r"\b(the|a) (whole way|story)\b": "name the steps, history",
    r"\btold apart\b": "distinguished",
    r"\bones? own\b|\bone's own\b": "the user's own",
    r"\b(flops|tokens|bytes|seconds|nats|bits|ms) a (layer|pass|weight|line|question)\b": "per layer",
    r"\bdisk(s)? (that )?refuses?\b": "cannot write",
}
"""What reads oddly to an engineer of this field, as a pattern, and what to write."""


def test_the_packages_are_fifteen_and_each_says_in_its_first_line_what_it_holds():
    assert len(PACKAGES) == 15
    for package in PACKAGES:
        first = (ast.get_docstring(ast.parse((ROOT / "hafs" / package / "__init__.py").read_text())) or "").split("\n")[
            0
        ]
        assert len(first.split()) >= 6, package


def _modules():
    """Dotted names of all modules, with their files."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def _imported(tree, name, is_package, known):
    """Modules that a module imports anywhere, within functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                if found := next((each for each in (f"{module}.{alias.name}", module) if each in known), None):
                    yield found


def _circles(graph):
    """One circle of imports through each module that is in one, found depth first."""
    done, found = set(), []

    def visit(name, trail):
        if name in trail:
            found.append([*trail[trail.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


def test_no_modules_import_each_other_in_a_circle():
    modules = _modules()
    graph = {
        name: {
            other
            for other in _imported(ast.parse(path.read_text()), name, path.name == "__init__.py", modules)
            if other != name
        }
        for name, path in modules.items()
    }
    assert sum(map(len, graph.values())) > 500  # the graph is not empty by mistake
    assert _circles(graph) == []


def test_a_circle_of_imports_would_be_found():
    tree = ast.parse("from hafs import b\nif TYPE_CHECKING:\n    from hafs import c\ndef f():\n    from hafs import d")
    known = {"hafs", "hafs.a", "hafs.b", "hafs.c", "hafs.d"}
    assert set(_imported(tree, "hafs.a", False, known)) == {"hafs.b", "hafs.c", "hafs.d"}
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def test_the_top_of_the_package_holds_its_entry_points_and_nothing_else():
    assert {path.name for path in (ROOT / "hafs").glob("*.py")} == {"__init__.py", "__main__.py", "cli.py", "train.py"}


def test_a_class_name_means_one_thing():
    """`Settings` is every command's own keys; `Llm` is the option `llm` of the groups router and synthesizer."""
    names = [node.name for path in FILES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    assert sorted(name for name, count in Counter(names).items() if count > 1) == ["Llm", "Settings"]


def test_a_file_is_read_in_one_sitting():
    assert [str(path.relative_to(ROOT)) for path in FILES if len(path.read_text().splitlines()) > 300] == []


def test_no_two_test_files_share_a_name():
    """pytest imports them by their file names, so that the second of a pair is never collected."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_or_class_is_named_by_what_it_is_not():
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [str(path) for path in FILES if path.stem in vague] == []


@pytest.mark.parametrize(("pattern", "instead"), PLAIN.items())
def test_what_people_read_is_plain_english(pattern, instead):
    pages = [path for path in ROOT.glob("docs/**/*.md") if path.name != "log.md"]
    texts = [*FILES, *(ROOT / "conf").rglob("*.yaml"), *pages, ROOT / "README.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:90]}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line, re.IGNORECASE) and not re.match(r"keywords|examples|  - ", line)
    ]
    assert not found, f"write {instead!r}:\n" + "\n".join(found)


@pytest.mark.parametrize(("pattern", "instead"), PLAIN.items())
def test_names_of_tests_are_plain_english(pattern, instead):
    names = (
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    found = [name for name in names if re.search(pattern, name.replace("_", " "))]
    assert not found, f"write {instead!r}: {found}"


def test_every_option_begins_with_a_line_that_says_what_it_is():
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        lines = path.read_text().splitlines()
        first = next(line for line in lines if not line.startswith("# @package"))
        assert first.startswith("# "), path
