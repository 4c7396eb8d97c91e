"""The suite of ROM-hacking tasks: its own answers pass, its controls fail, and anybody can be asked."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from hafs.commands.evaluate import Settings, evaluate
from hafs.config import check, compose
from hafs.core.errors import DataError
from hafs.evaluation.rom.bench import RomJob, check_all
from hafs.evaluation.rom.check_task import differences
from hafs.evaluation.rom.suite import RomSuite, put_tasks, rom_suite, summary, write_tasks
from hafs.evaluation.rom.task import RomTask, address_of, offset_of, read_tasks
from hafs.evaluation.rom.toolchain import missing

DATA = Path(__file__).resolve().parents[3] / "data"
TASKS = str(DATA / "rom_tasks.jsonl")
needs_asar = pytest.mark.skipif(bool(missing("asar")), reason=missing("asar") or "-")


@pytest.fixture(scope="module")
def tasks():
    return read_tasks(TASKS)


def verdicts(pairs):
    return check_all([RomJob(source=source, syntax=task.syntax, row=task, seed=3) for task, source in pairs], workers=2)


def test_there_are_ten_families_of_at_least_six_tasks(tasks):
    count = Counter(task.family for task in tasks)
    assert len(count) == 10
    assert min(count.values()) >= 6
    assert len({task.prompt for task in tasks}) == len(tasks)
    assert {task.kind for task in tasks} == {"routine", "patch", "bytes"}
    assert all(task.kind == "bytes" or task.cases for task in tasks)


def test_no_task_and_no_family_of_the_suite_is_in_a_sample(tasks):
    for name in ("alttp_asm.jsonl", "alttp_asm.asar.jsonl", "debug.jsonl"):
        rows = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
        assert not {task.prompt for task in tasks} & {row["instruction"] for row in rows}
        assert not {task.family for task in tasks} & {row.get("split_group") for row in rows}


def test_no_answer_stands_in_its_prompt(tasks):
    assert [task.id for task in tasks if task.answer in task.prompt] == []


@needs_asar
def test_the_own_answer_of_every_task_passes(tasks):
    found = verdicts([(task, task.answer) for task in tasks])
    assert [(task.id, each.why) for task, each in zip(tasks, found, strict=True) if not each.right] == []


@needs_asar
def test_every_control_assembles_and_fails(tasks):
    pairs = [(task, source) for task in tasks for source in task.must_fail]
    assert min(Counter(task.id for task, _ in pairs).values()) >= 2
    for (task, source), each in zip(pairs, verdicts(pairs), strict=True):
        assert not each.right, (task.id, source)
        assert "does not assemble" not in each.why, (task.id, each.why)


@needs_asar
def test_a_patch_that_touches_something_else_is_wrong(tasks):
    task = next(task for task in tasks if task.kind == "patch")
    (verdict,) = verdicts([(task, f"{task.answer}\norg $03C000\n  nop")])
    assert verdict.why == "changes $03C000, which must stay as it is"


def test_places_in_an_image_and_their_addresses():
    assert offset_of(0x108000) == 0x80000
    assert all(offset_of(address_of(offset)) == offset for offset in (0, 0x7FFF, 0x8000, 0xFFFFF))
    assert differences(b"abcd" * 4000, b"abcd" * 3999 + b"abXde") == [15998, 16000]


def test_a_task_is_read_as_it_was_written(tasks):
    for task in tasks:
        assert RomTask.of_json(json.loads(json.dumps(task.as_json()))).as_json() == task.as_json()


def test_a_file_that_holds_no_tasks_is_refused(tmp_path):
    (tmp_path / "tasks.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match="holds no tasks"):
        read_tasks(tmp_path / "tasks.jsonl")


@needs_asar
def test_anybody_is_asked_and_the_page_says_what_ran_and_what_differs(tmp_path):
    suite = rom_suite(TASKS, seed=7, rows=1)
    assert len(suite.tasks) == 10
    right = {task.prompt: f"```asm\n{task.answer}\n```" for task in suite.tasks}

    def ask(prompts):
        return [
            right[prompt] if n % 2 else (None if n == 0 else "```asm\n  rtl\n```") for n, prompt in enumerate(prompts)
        ]

    told = put_tasks(suite, ask)
    assert [each.verdict.right for each in told] == [bool(n % 2) for n in range(10)]
    assert summary("somebody", told).startswith("somebody: 5 of 10 tasks right (any_width_call 0/1, capped_counter 1/1")
    page, rows = write_tasks(tmp_path, {"base": told, "tuned": put_tasks(suite, lambda prompts: list(right.values()))})
    text = page.read_text()
    for words in ("there is no answer", "what ran", "base: 5 of 10", "tuned: 10 of 10", suite.tasks[0].id, "holds $"):
        assert words in text
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert lines[0]["tuned"]["right"] and not lines[0]["base"]["right"]


@needs_asar
def test_a_provider_is_asked_without_any_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = compose("evaluate", ["provider=scripted", "tasks=rom", "tasks_limit=1"])
    check(config, Settings)
    evaluate(config)
    assert "scripted: 0 of 10 tasks right" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "outputs/rom_tasks/scripted/rom_tasks.html").exists()


@needs_asar
def test_an_empty_suite_asks_nothing():
    with tempfile.TemporaryDirectory() as folder:
        told = put_tasks(RomSuite(tasks=[], seed=1), lambda prompts: [])
        assert write_tasks(Path(folder), {"nobody": told})[0].exists()
