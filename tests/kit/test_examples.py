"""Every example runs as its own text says, with scripted answers."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from documented import commands_in, composes

from hafs.config import check, compose

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def example(here, monkeypatch):
    """Enters a copy of an example."""

    def enter(name):
        folder = shutil.copytree(EXAMPLES / name, here / name)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HAFS_STATE", str(here / "state"))
        monkeypatch.setenv("HAFS_REGISTRY", str(here / "registry.toml"))
        return folder

    return enter


def typed(*words, **variables):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140", **variables}
    out = subprocess.run(
        words, check=False, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert out.returncode == 0, out.stderr
    return out.stdout


def test_the_langgraph_agent_asks_again_until_the_answer_passes_its_check(example):
    example("langgraph_agent")
    answers = "{There is no code: '```asm\nclear: stz $10\n```'}"
    said = typed(
        sys.executable, "agent.py", "Write a routine with lda, sta and rts that clears a buffer.", "provider=scripted",
        "router=keyword", "provider.scripted.host.otherwise=Use stz.", f"+provider.scripted.host.answers={answers}",
    )  # fmt: skip
    lines = said.splitlines()
    assert lines[0] == "[answer: asm] Use stz."
    assert lines[1].startswith("[check] There is no code")
    assert lines[2].startswith("[answer: ")
    assert said.count("[answer") == 2
    assert "stz $10" in said


def test_the_langgraph_agent_gives_up_after_a_few_answers(example):
    example("langgraph_agent")
    said = typed(sys.executable, "agent.py", "Clear a buffer.", "provider=scripted", "router=keyword")
    assert said.count("[answer") == 3


@pytest.fixture
def service(example):
    """The address of the FastAPI service."""
    example("fastapi_service")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"]
    env = {**os.environ, "COUNCIL": "provider=scripted router=keyword"}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        try:
            httpx.get(f"http://127.0.0.1:{port}/openapi.json")
            break
        except httpx.ConnectError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=20)


def test_the_fastapi_service_streams_an_explanation_and_scores_a_question(service):
    with httpx.stream("GET", f"{service}/explain", params={"code": "lda #1"}, timeout=30) as response:
        assert "lda #1" in "".join(response.iter_text())
    scores = httpx.get(
        f"{service}/experts", params={"question": "Why does lda crash with an error?"}, timeout=30
    ).json()
    assert max(scores, key=scores.get) == "debug"


def test_an_expert_in_one_file_is_routed_to_and_answers(example):
    folder = example("own_expert")
    shown, asked = [words for name, words in commands_in((folder / "README.md").read_text()) if name == "ask"]
    script = str(Path(sys.executable).parent / "hafs")
    table = typed(script, "ask", *shlex.split(shown))
    assert re.search(r"\* music +0\.\d\d", table) or re.search(r"\* music +1\.00", table)
    assert "scripted answer" in typed(script, "ask", *shlex.split(asked))


def test_a_metric_of_the_user_is_measured_beside_the_shipped_ones(example, monkeypatch):
    folder = example("own_metric")
    text = (folder / "README.md").read_text()
    (name, words), *_ = commands_in(text.replace("HAFS_PLUGINS=brevity ", ""))
    monkeypatch.setenv("HAFS_PLUGINS", "brevity")
    composes(name, words)

    from hafs.config import build
    from hafs.evaluation.metrics import Said

    metric = build(compose("evaluate", ["metrics=brief", "metrics.brevity.most_words=2"]).metrics.brevity)
    answers = ("two words", "three whole words")
    assert [metric.parts(Said(prompt=(), reference="", answer=text)).amount for text in answers] == [1.0, 0.0]


def test_a_module_that_was_not_named_at_the_start_is_refused(example, monkeypatch):
    folder = example("own_metric")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("HAFS_PLUGINS", raising=False)
    with pytest.raises(Exception, match=r"brevity\.Brevity.*may not call") as refused:
        check(compose("evaluate", ["metrics=brief"]))
    assert "HAFS_PLUGINS" in refused.value.hint


def test_a_named_module_allows_its_own_classes_and_nothing_that_it_imports(example, monkeypatch):
    folder = example("own_metric")
    (folder / "own.py").write_text("import os\nfrom pathlib import Path\nfrom os import system\n")
    monkeypatch.setenv("HAFS_PLUGINS", "own")
    for target in ("own.os.system", "own.system", "own.Path", "owner.Path"):
        config = compose("evaluate", [f"+metrics.mine._target_={target}"])
        with pytest.raises(Exception, match="may not call"):
            check(config)


def test_every_example_is_listed_and_tested():
    table = set(re.findall(r"^\| `(\w+)/`", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert table == {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    tested = Path(__file__).read_text() + (ROOT / "tests/kit/test_containers.py").read_text()
    assert all(f'example("{name}")' in tested or f'"examples/{name}/' in tested for name in table)
