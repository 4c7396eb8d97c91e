"""Records, configs and overrides of release 0.1 still work. `release_01/` holds files that a run of it wrote."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_runs import events, run, write_rows

from hafs.config import build, check, compose, conf_folder
from hafs.config.earlier import current, current_overrides
from hafs.config.shipped import shipped
from hafs.core import records
from hafs.core.errors import RunError
from hafs.planning import calibration
from hafs.providers.quota import Ledger, Limits
from hafs.runs import evaluation_record, finished
from hafs.runs.run_folder import ranked
from hafs.train import train

LEFT = Path(__file__).with_name("release_01")
TEST_SPLIT = "dataset.test_fraction=0.2"
NONE = {"requests_per_minute": None, "tokens_per_minute": None, "requests_per_day": None, "tokens_per_day": None}


@pytest.fixture
def left(here):
    """The folder of a run that release 0.1 began, and its rows."""
    write_rows(here / "rows.jsonl")
    return Path(shutil.copytree(LEFT, here / "outputs/run"))


def test_a_run_of_01_continues_on_the_same_data(left):
    run(TEST_SPLIT, "stage=warmup,main,cooldown")
    assert (left / "adapter").is_dir()
    assert not events(left, "data_changed")
    assert finished.read(left).data != json.loads((LEFT / "run.json").read_text())["data"]


FITTED = (
    "model=tiny", "quant=none", "dataset.path=rows.jsonl", TEST_SPLIT, "precision=fp32", "logger=none", "trainer=cpu",
    "adapter.r=4", "show.prompts=0", "show.measured=0", "callbacks.generations.prompts=0",
    "stage=warmup,main,cooldown",
)  # fmt: skip
"""The words of the run, without the sizes of its stages: today these are chosen by the size of the data."""


@pytest.mark.parametrize("name", ["run", None])
def test_a_run_of_01_keeps_the_epochs_and_rates_that_it_began_with(left, name, capsys):
    facts = json.loads((left / "run.json").read_text())
    facts["config"]["stages"]["main"] |= {"samples": None}
    for stage in ("warmup", "cooldown"):
        facts["config"]["stages"][stage] |= {"samples": 1000}
    records.write_record(left / "run.json", {key: facts[key] for key in ("config", "data")})
    if name is None:
        left = left.rename(left.with_name("tiny-none-jsonl-lora4"))
    config = compose("train", [*FITTED, *([f"name={name}"] if name else [])])
    assert config.stages.main.lr == "auto"
    train(config)
    assert [path.name for path in left.parent.iterdir()] == [left.name]
    told = capsys.readouterr().out
    assert "as begun   stages.main.lr: 0.003" in told
    assert "chosen " not in told
    assert finished.read(left).config["stages"]["main"]["epochs"] == 2
    assert [event["stage"] for event in events(left, "stage_finished")] == ["base", "warmup", "main", "cooldown"]


def test_a_run_of_01_is_refused_with_another_rate_that_is_typed(left):
    with pytest.raises(RunError, match=r"another config: stages\.main\.lr: 0\.003 -> 0\.002\n"):
        run(TEST_SPLIT, "stage=warmup,main,cooldown", "stage.main.lr=2e-3")


def test_a_run_of_01_is_refused_on_other_data(left, here):
    write_rows(here / "rows.jsonl", count=39)
    with pytest.raises(RunError, match="the data of outputs/run has changed"):
        run(TEST_SPLIT, "stage=warmup,main,cooldown")
    assert (left / "data_report.json").read_bytes() == (LEFT / "data_report.json").read_bytes()


def test_a_run_of_01_is_refused_where_its_tokens_were_others(left):
    """The rows may be the same and what the loss counts of them not."""
    report = json.loads((left / "data_report.json").read_text())
    report["splits"]["train"]["supervised"] -= 1
    (left / "data_report.json").write_text(json.dumps(report))
    with pytest.raises(RunError, match="the data of outputs/run has changed"):
        run(TEST_SPLIT, "stage=warmup,main,cooldown")


def test_an_evaluation_of_01_is_read_and_its_missing_checksum_is_said(left, capsys):
    record = evaluation_record.read(left)
    assert record.verdict.passed
    assert record.metrics["perplexity"].tuned < record.metrics["perplexity"].base
    said = capsys.readouterr().err
    assert "has no checksum" in said
    assert "hafs evaluate name=run writes it again" in said


def test_a_record_with_a_wrong_checksum_is_still_damaged(left):
    facts = json.loads((left / "evaluation.json").read_text())
    (left / "evaluation.json").write_text(json.dumps(facts | {"sha256": "0" * 64}))
    with pytest.raises(RunError, match=r"evaluation\.json is damaged: it has no valid checksum"):
        evaluation_record.read(left)


def test_a_ledger_of_01_still_keeps_an_account_from_being_asked(tmp_path):
    now = 1_800_000_000.0
    rest = {"until": now + 30, "reason": "rate_limited", "said": "slow down", "failures": 2, "probe_until": 0.0}
    (tmp_path / "quota.json").write_text(json.dumps({"rests": {"account": rest}, "uses": {}}))
    ledger = Ledger(tmp_path / "quota.json", clock=lambda: now)
    assert ledger.wait("account", "model", Limits(**NONE)) == (30.0, "rate_limited")


def test_a_calibration_and_a_summary_of_01_are_read(tmp_path):
    one = {
        "title": "a CPU",
        "date": "2026-11-20",
        "of": "tiny",
        "efficiency": [0.1, 0.2, 0.3],
        "context_bytes": 5,
        "slack": 0.1,
    }
    (tmp_path / "calibration.json").write_text(json.dumps({"a CPU": one}))
    assert calibration.load(tmp_path / "calibration.json")["a CPU"].efficiency == (0.1, 0.2, 0.3)
    (tmp_path / "summary.json").write_text(json.dumps({"status": "done", "loss": 1.5}))
    assert ranked([tmp_path])[0]["loss"] == 1.5


@pytest.mark.parametrize(
    ("group", "option", "command", "late"),
    [
        ("dataset", "jsonl", "train", {"columns": None, "reasoning": "keep", "kind": "rows", "split": "train"}),
        ("model", "tiny", "train", {"template": None}),
    ],
)
def test_a_users_file_of_01_lacks_keys_that_came_later_and_works(here, group, option, command, late):
    node = yaml.safe_load((conf_folder() / group / f"{option}.yaml").read_text())
    assert late.keys() <= node.keys()
    (here / f"conf/{group}").mkdir(parents=True)
    old = {key: value for key, value in node.items() if key not in late}
    (here / f"conf/{group}/mine.yaml").write_text(yaml.safe_dump(old | {"name": "mine"}))
    config = compose(command, [f"{group}=mine", *(["dataset.path=rows.jsonl"] if group == "dataset" else [])])
    check(config)
    built = build(config[group])
    assert {key: getattr(built, key) for key in late} == late


def test_the_config_that_a_run_of_01_recorded_builds_its_components(left):
    found = finished.read(left).components("model", "quant", "adapter", "dataset")
    assert found["dataset"].reasoning == "keep"
    assert found["model"].template is None
    assert current(finished.read(left).config)["dataset"]["_target_"] == "hafs.data.dataset.jsonl"


def test_renamed_keys_are_accepted_and_told(here, capsys):
    config = compose("evaluate", ["at_once=7", "~metrics.ended"])
    assert config.concurrency == 7
    assert "eos_rate" not in config.metrics
    said = capsys.readouterr().err
    assert "at_once is now concurrency; the old name works until 0.3" in said
    assert "metrics.ended is now metrics.eos_rate" in said
    assert current_overrides(["name=at_once"]) == (["name=at_once"], [])


def test_a_users_gate_of_01_still_rules_over_the_renamed_metric(here, capsys):
    (here / "conf/gate").mkdir(parents=True)
    rules = {"_target_": "hafs.gate.gate", "name": "mine", "certain": False, "ended": {"min": 0.9}}
    (here / "conf/gate/mine.yaml").write_text(yaml.safe_dump(rules))
    config = compose("evaluate", ["gate=mine"])
    check(config)
    assert build(config.gate).rules == {"eos_rate": {"min": 0.9}}
    assert "gate.ended is now gate.eos_rate" in capsys.readouterr().err


def test_a_users_policy_and_router_of_01_keep_their_values_under_the_new_keys(here, capsys):
    """A file that builds on a shipped option has both keys; the one that the user wrote counts."""
    (here / "conf/policy").mkdir(parents=True)
    (here / "conf/policy/mine.yaml").write_text("defaults: [default, _self_]\nrest_seconds: 7\n")
    config = compose(
        "ask", ["policy=mine", "policy.quota_rest_seconds=60", "router=embedding", "router.method.lessons=null"]
    )
    check(config, unused=("council", "experts", "providers"))
    policy = build(config.policy)
    assert (policy.backoff_seconds, policy.quota_backoff_seconds, policy.longest_backoff_seconds) == (7, 60, 300)
    assert config.router.method.training_questions is None
    assert "policy.rest_seconds is now policy.backoff_seconds" in capsys.readouterr().err
    assert shipped("routing_lessons.jsonl") == shipped("routing_training_questions.jsonl")
