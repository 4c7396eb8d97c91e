"""`hafs plan calibrate`: real steps on this machine, and what plans make of them."""

import json
import sys
from dataclasses import replace

import pytest
from tiny_runs import write_rows

from hafs.commands import plan as command
from hafs.commands.plan import UNUSED, Settings
from hafs.config import check, compose
from hafs.core import records
from hafs.planning.calibration import Calibration, applied, keep, load
from hafs.planning.calibration_runs import _quoted, judged, training_overrides
from hafs.planning.memory import COMES_AND_GOES, staying
from hafs.planning.plan_builder import PlanBuilder

TINY = ["model=tiny", "dataset=jsonl", "dataset.path=rows.jsonl", "quant=nf4", "adapter.r=4"]


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl", count=60)
    return here


def builder(*words):
    config = compose("plan", [*TINY, *words])
    check(config, Settings, unused=UNUSED)
    return PlanBuilder(config)


def typed(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["hafs.commands.plan", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        command.main()
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


def test_real_steps_are_kept_and_the_next_plan_uses_and_names_them(rows, monkeypatch, capsys):
    code, said, err = typed(monkeypatch, capsys, "calibrate", *TINY, "calibration=mine.json")
    assert not code, err
    assert "of the peak" in said
    (found,) = load(rows / "mine.json").values()
    assert found.of == "tiny, nf4, lora4"
    low, usual, high = found.efficiency
    assert 0 < low < usual < high <= 1
    before, after = builder("calibration=null").plan, builder("calibration=mine.json").plan
    assert after.constants.source == f"calibrated on {found.date} with tiny, nf4, lora4"
    assert after.asked.hardware.efficiency == found.efficiency != before.asked.hardware.efficiency
    assert after.total - before.total == found.context_bytes - before.constants.context_bytes
    code, said, _ = typed(monkeypatch, capsys, *TINY, "calibration=mine.json")
    assert said.count(after.constants.source) == 2  # of the time, and of the memory
    assert "assumed" in typed(monkeypatch, capsys, *TINY, "calibration=null")[1]


def told(found, *, seconds, reserved=0):
    """Events of a training whose steps were `found.row.tokens` long."""
    steps = [{"event": "step", "tokens": found.row.tokens, "seconds": s} for s in (60.0, seconds, seconds)]
    return [*steps, {"event": "throughput", "gpu_reserved_bytes": reserved}]


def test_a_calibrated_plan_of_what_was_measured_says_what_was_measured(rows):
    words = ["experiment=none", "stage=main", "stage.main.samples=64", "stage.main.batch_size=64"]
    assumed = builder(*words, "calibration=null").plan
    seconds = assumed.row.tokens / 150.0
    keep(rows / "mine.json", judged(assumed, told(assumed, seconds=seconds), assumed.total + 50_000_000))
    again = builder(*words, "calibration=mine.json").plan
    assert again.total == assumed.total + 50_000_000
    assert again.duration.tokens_per_second == pytest.approx(150.0, rel=0.01)


def test_on_a_gpu_the_allocators_slack_is_measured(rows):
    assumed = builder("hardware=rtx3090_24gb", "model.gradient_checkpointing=true", "calibration=null").plan
    moving = sum(term.bytes for term in assumed.terms if term.name in COMES_AND_GOES)
    found = judged(assumed, told(assumed, seconds=1.0, reserved=staying(assumed.terms) + int(1.25 * moving)), 0)
    assert found.slack == pytest.approx(0.25, abs=0.001)
    assert found.context_bytes == assumed.constants.context_bytes
    assert judged(assumed, told(assumed, seconds=1.0), 0).slack == assumed.constants.slack


def test_values_that_were_changed_reach_the_measured_training(rows):
    changed = [
        "model.weights.layers=3", "model.gradient_checkpointing=true", "adapter=dora", "adapter.lora_dropout=0.1",
        "adapter.target_modules=[q_proj,v_proj]", "micro_batch_tokens=256", "precision=fp32", "optimizer.eps=1e-6",
        "quant.double=false",
    ]  # fmt: skip
    config = compose("plan", [*TINY, *changed])
    measured = compose("train", training_overrides(config))
    assert measured.dataset.path == [str(rows / "rows.jsonl")]
    for key in (
        "model.weights",
        "model.gradient_checkpointing",
        "micro_batch_tokens",
        "precision",
        "optimizer",
        "quant",
    ):
        assert _at(measured, key) == _at(config, key), key
    for key in ("r", "use_dora", "lora_dropout", "target_modules"):
        assert measured.adapter[key] == config.adapter[key], key
    full = compose("train", training_overrides(compose("plan", [*TINY[:-1], "adapter=none", "quant=none"])))
    assert full.adapter.name == "full"
    assert _quoted("it's") == r"'it\'s'"


def _at(config, key):
    for part in key.split("."):
        config = config[part]
    return config


def test_only_this_machine_is_measured_and_a_training_that_fails_is_one_line(rows, monkeypatch, capsys):
    code, _, err = typed(monkeypatch, capsys, "calibrate", *TINY, "hardware=h200")
    assert (code, err.splitlines()[0]) == (2, "hafs: hafs plan calibrate measures this machine only")
    code, _, err = typed(monkeypatch, capsys, "calibrate", *TINY, "calibration=null")
    assert code == 2
    (rows / "file").touch()
    code, _, err = typed(monkeypatch, capsys, "calibrate", *TINY, "calibration=file/mine.json")
    assert (code, err.splitlines()[0]) == (2, "hafs: file/mine.json cannot be written: File exists")
    (rows / "rows.jsonl").write_text(json.dumps({"instruction": "only a question"}) + "\n")
    code, _, err = typed(monkeypatch, capsys, "calibrate", *TINY, "calibration=mine.json")
    assert code == 2
    assert "the training for the measurement failed" in err
    assert len(err.strip().splitlines()) == 2
    assert not (rows / "mine.json").exists()


def test_a_damaged_calibration_is_ignored_and_an_error_where_it_is_named(rows, monkeypatch, capsys):
    found = Calibration(title="x", date="2026-01-01", of="y", efficiency=(0.1, 0.2, 0.3), context_bytes=1, slack=0.5)
    keep(rows / "a.json", found)
    keep(rows / "a.json", replace(found, title="other"))
    assert set(load(rows / "a.json")) == {"x", "other"}
    for text in ("{", "[]", '{"x": {"date": 1}}', ""):
        (rows / "a.json").write_text(text)
        records._said.clear()
        assert load(rows / "a.json") == {}
        assert "a.json is damaged" in capsys.readouterr().err
        code, _, err = typed(monkeypatch, capsys, *TINY, "calibration=a.json")
        assert (code, err.splitlines()[-2]) == (2, "hafs: calibration file 'a.json' contains no measurement")
        assert "assumed" in applied(builder("calibration=null").hardware, rows / "a.json")[1].source
