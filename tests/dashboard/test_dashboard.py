"""`hafs dashboard`, and the files that a real run writes for it."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from journals import step, whole_run, write
from tiny_runs import events, run, write_rows

from hafs.cli import _completed, _overview
from hafs.commands import dashboard as command
from hafs.runs.history import JournalReader
from hafs.training.callbacks.journal import HELD_OUT, STEP


def typed(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["hafs.commands.dashboard", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        command.main()
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


def test_a_finished_run_has_a_report_and_a_complete_history(here):
    write_rows(here / "rows.jsonl")
    run("logger=csv", "show.prompts=2", "stage.main.epochs=2", "stage.main.validation=epoch")
    folder = here / "outputs/run"
    journal = JournalReader(folder)
    journal.follow()
    history = journal.history
    assert history.status() == "finished"
    assert [stage["name"] for stage in history.plan["stages"]] == ["warmup", "main", "cooldown"]
    assert history.place().planned == history.place().done == len(history.steps) == 8
    summary = json.loads((folder / "summary.json").read_text())
    assert history.best == summary["loss"]
    assert history.base == summary["base_loss"]
    assert sorted(history.held_out) == [0, 1, 4, 7, 8]  # the base, each stage, and each epoch of main
    report = (folder / "report.html").read_text()
    for words in ("<svg", "cooldown", "finished", "<h2>Data</h2>", "<h2>Answers</h2>"):
        assert words in report
    assert not events(folder, "report_failed")


def test_loggers_and_events_use_the_same_metric_names(here):
    write_rows(here / "rows.jsonl")
    run("logger=csv", "stage=warmup", "callbacks.throughput.every_steps=1")
    folder = here / "outputs/run"
    with next(folder.glob("logs/version_*/metrics.csv")).open() as file:
        logged = set(next(csv.reader(file)))
    (made,) = events(folder, "step")
    assert {f"train/{name}" for name in STEP} <= logged
    assert {f"train/{name}" for name in made if name in STEP} == {
        f"train/{n}" for n in STEP if n != "tokens_per_second"
    }
    assert {f"held_out/{name}" for name in HELD_OUT} <= logged
    assert set(HELD_OUT) <= set(events(folder, "held_out")[0])
    machine = set(events(folder, "throughput")[0]) - {"time", "event", "total"}
    assert {f"machine/{name}" for name in machine} <= logged


def test_a_failed_run_has_the_error_in_its_events(here, monkeypatch):
    write_rows(here / "rows.jsonl")
    monkeypatch.setattr("hafs.training.session.Training.go", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("stage=warmup")
    (ended,) = events(here / "outputs/run", "ended")
    assert (ended["error"], ended["exit_code"]) == ("division by zero", 1)


def test_without_a_terminal_a_table_is_printed(here, monkeypatch, capsys):
    whole_run(here / "outputs/first")
    whole_run(here / "multirun/sweep/adapter.r=8,seed=1")
    write(here / "multirun/sweep/adapter.r=4,seed=1", step(0))
    code, out, _ = typed(monkeypatch, capsys, "table=true")
    assert code == 0
    assert "3 runs" in out
    for words in (["sweep", "first"], ["name=sweep,first"], ["name=multirun/sweep/adapter.r=8,seed=1"]):
        code, out, err = typed(monkeypatch, capsys, *words)
        assert code == 0, err
        assert "adapter.r=8" in out
        assert ("1 run " if len(words[0]) > 20 else "3 runs ") in out
    code, _, err = typed(monkeypatch, capsys, "name=adapter.r=8")
    assert code == 2
    assert "did you mean 'adapter.r=8,seed=1'?" in err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "there is no run in outputs/ or multirun/ yet"),
        (["name=nothing"], "there is no run 'nothing'"),
        (["web=true", "host=0.0.0.0"], "this machine only"),
        (["web=yes"], "web is 'yes'"),
        (["refresh_seconds=0"], "refresh_seconds is 0"),
        (["port=99999"], "port is 99999"),
        (["nmae=x"], "no group or key 'nmae'\n-> did you mean 'name'?"),
    ],
)
def test_bad_overrides_get_an_error_and_a_hint(here, monkeypatch, capsys, overrides, message):
    code, _, err = typed(monkeypatch, capsys, *overrides)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) <= 2


def test_a_port_in_use_and_damaged_event_files_are_handled(here, monkeypatch, capsys):
    for name, content in {"torn": b'{"event": "step", "tot', "bytes": bytes(range(256)) * 9, "nothing": b""}.items():
        (here / "outputs" / name).mkdir(parents=True)
        (here / "outputs" / name / "events.jsonl").write_bytes(content)
    (here / "outputs/bare").mkdir()
    code, out, _ = typed(monkeypatch, capsys, "table=true")
    assert code == 0
    assert out.count("empty") == 3
    code, _, err = typed(monkeypatch, capsys, "bare")
    assert (code, err.splitlines()[0]) == (2, "hafs: there is no run 'bare' in outputs/ or multirun/")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = typed(monkeypatch, capsys, "web=true", f"port={port}", "torn")
    assert (code, err.splitlines()[0]) == (2, f"hafs: port {port} cannot be used: Address already in use")
    assert len(err.splitlines()) == 2


def test_hafs_runs_is_an_alias_in_help_and_completion(here):
    assert "hafs runs" in _overview()
    assert _completed("hafs runs na") == "hafs dashboard na"
    assert _completed("hafs ru") == "hafs ru"
    whole_run(here / "outputs/first")
    script = Path(sys.executable).parent / "hafs"
    out = subprocess.run([script, "runs"], capture_output=True, text=True, check=True)
    assert "first" in out.stdout
