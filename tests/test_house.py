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
}
"""What reads oddly to an engineer of this field, as a pattern, and what to write."""


def test_the_packages_are_fifteen_and_each_says_in_its_first_line_what_it_holds():
    assert len(PACKAGES) == 15
    for package in PACKAGES:
        first = (ast.get_docstring(ast.parse((ROOT / "hafs" / package / "__init__.py").read_text())) or "").split("\n")[
            0
        ]
        assert len(first.split()) >= 6, package


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


def test_every_option_begins_with_a_line_that_says_what_it_is():
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        lines = path.read_text().splitlines()
        first = next(line for line in lines if not line.startswith("# @package"))
        assert first.startswith("# "), path
