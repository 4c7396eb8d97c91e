"""Scoring a council of tiny experts: every side, where rows went, and whether routing helps."""

import json
import shutil
from pathlib import Path

import pytest

from hafs.commands.evaluate import Settings, evaluate
from hafs.config import check, compose
from hafs.core.errors import DataError, HafsError
from hafs.providers import local
from hafs.registry.registration import finished_run, register_mixture, register_run
from hafs.registry.registry import Registry
from hafs.train import Settings as TrainSettings
from hafs.train import train

TRAIN = [
    "model=tiny", "quant=none", "dataset=jsonl", "precision=fp32", "logger=none", "trainer=cpu", "show.measured=0",
    "show.prompts=0", "callbacks.generations.prompts=0", "callbacks.progress=null", "adapter.r=4", "stage=main",
    "stage.main.epochs=3", "stage.main.warmup_steps=0", "dataset.test_fraction=0.25", "on_worse=continue",
    "stage.main.lr=1e-2",
]  # fmt: skip
TIERS = ("fast", "coding", "reasoning", "cheap", "fallback")
LOCAL = [
    "provider=local", "provider.local.host.quant=none", "provider.local.host.precision=fp32",
    "provider.local.host.accelerator=cpu", *(f"provider.local.models.{tier}=tiny" for tier in TIERS),
]  # fmt: skip
SUBJECTS = {"asm": "Write a subroutine with lda and sta", "yaze": "Edit the palette of the dungeon room"}
ANSWERS = {"asm": "aaaa bbbb aaaa bbbb", "yaze": "zzzz yyyy zzzz yyyy"}
COUNCIL = "council={asm: a-run, yaze: y-run}"


def rows(expert, count=80):
    return [{"instruction": f"{SUBJECTS[expert]} {i}", "output": ANSWERS[expert]} for i in range(count)]


def trained(name, expert):
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(expert)))
    config = compose("train", [*TRAIN, f"name={name}", f"dataset.path={name}.jsonl", f"dataset.name={expert}-rows"])
    check(config, TrainSettings)
    train(config)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("council")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained("a-run", "asm")
        trained("y-run", "yaze")
    return folder


@pytest.fixture
def at(runs, tmp_path, monkeypatch):
    """A copy of the runs, with a registry and a ledger of its own."""
    shutil.copytree(runs, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("HAFS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HAFS_REGISTRY", str(tmp_path / "registry.toml"))
    yield tmp_path
    local.close()


def evaluated(*words):
    defaults = ["max_new_tokens=8", "draws=200", "router=keyword", "synthesizer=concat"]
    systems = [f"expert.{name}.system=null" for name in SUBJECTS]
    config = compose("evaluate", [*LOCAL, *defaults, *systems, *words])
    check(config, Settings)
    evaluate(config)
    return json.loads(Path("outputs/council/evaluation.json").read_text())


def rows_told():
    return [json.loads(line) for line in Path("outputs/council/evaluation_rows.jsonl").read_text().splitlines()]


def test_the_council_each_expert_and_the_base_answer_the_test_rows_of_all_experts(at, capsys):
    found = evaluated(COUNCIL)
    assert list(found["sides"]) == ["council", "asm", "yaze", "base", "own expert"]
    told = rows_told()
    assert {row["expert"] for row in told} == {"asm", "yaze"}
    assert sum(member["rows"] for member in found["experts"].values()) == len(told) >= 16
    for row in told:
        assert row["routed"] == [row["expert"]]
        assert row["answers"]["council"] == row["answers"][row["expert"]] == row["answers"]["own expert"]
    assert found["sides"]["council"]["chrf"] == found["sides"]["own expert"]["chrf"]
    assert found["failed"] == dict.fromkeys(found["sides"], 0)
    assert {row["answers"]["base"] == row["answers"]["asm"] for row in told} == {False}
    page = Path("outputs/council/evaluation.html").read_text()
    assert "<script" not in page
    assert found["answer"] in capsys.readouterr().out


def test_routing_helps_where_each_expert_knows_its_own_rows_alone(at):
    found = evaluated(COUNCIL)
    chrf = {side: figures["chrf"]["value"] for side, figures in found["sides"].items()}
    assert chrf["council"] > chrf[found["best_alone"]] > chrf["base"]
    assert found["answer"].startswith("does routing help? yes: chrf ")
    over_best = found["against"][found["best_alone"]]["chrf"]
    assert over_best["low"] > 0
    assert over_best["difference"] == pytest.approx(chrf["council"] - chrf[found["best_alone"]])


def test_routing_to_the_wrong_expert_hurts_and_is_seen(at):
    swapped = ["council={asm: y-run, yaze: a-run}", "expert.asm.keywords=[palette,room,dungeon]"]
    right = evaluated(*swapped, "expert.yaze.keywords=[lda,sta,subroutine]")
    assert right["answer"].startswith("does routing help? yes")
    wrong = evaluated("council={asm: y-run, yaze: a-run}")
    assert wrong["experts"]["asm"]["routed"].keys() == {"yaze"}
    assert "no, it hurts" in wrong["answer"]


def test_the_likelihood_of_experts_and_base_is_that_of_their_own_evaluation(at):
    sides = evaluated(COUNCIL, "rows=4")["sides"]
    assert "perplexity" not in sides["council"]
    config = compose("evaluate", ["name=a-run", "rows=4", "max_new_tokens=0", "draws=200", "general=null",
                                  "gate.forgetting=null"])  # fmt: skip
    evaluate(config)
    lines = [json.loads(line) for line in Path("outputs/a-run/evaluation_rows.jsonl").read_text().splitlines()]
    both = evaluated("council={asm: a-run}", "rows=4")["sides"]
    for side, own in (("asm", "tuned"), ("base", "base")):
        nats = sum(line[own]["nats"] for line in lines) / sum(line[own]["supervised"] for line in lines)
        assert both[side]["perplexity"]["value"] == pytest.approx(2.718281828**nats, rel=1e-4)


def test_a_row_without_an_answer_is_missing_and_not_zero(at):
    broken = ["provider=scripted", "provider.scripted.host.faults=[null,null,overloaded]",
              "provider.scripted.host.repeat_faults=true", "policy.calls=1", "policy.backoff_seconds=0.05"]  # fmt: skip
    config = compose("evaluate", [*broken, COUNCIL, "router=keyword", "draws=200", "rows=6"])
    check(config, Settings)
    evaluate(config)
    found = json.loads(Path("outputs/council/evaluation.json").read_text())
    assert found["failed"]["council"] > 0
    assert found["sides"]["council"]["chrf"]["rows"] == 12 - found["failed"]["council"]
    assert "perplexity" not in found["sides"]["base"]
    assert [row["answers"]["council"] for row in rows_told()].count(None) == found["failed"]["council"]


def registered(registry, run, name):
    register_run(registry, finished_run(run), under=name, specialization=None, parents=[], force=True)
    registry.promote(name)


def test_registered_models_and_their_mixture_are_scored_like_their_runs(at):
    registry = Registry.open()
    registered(registry, "a-run", "hyrule-asm-v1")
    registered(registry, "y-run", "yaze-sage-v1")
    register_mixture(registry, name="both-moe", experts=["hyrule-asm-v1", "yaze-sage-v1"], router="keyword",
                     specialization=None)  # fmt: skip
    from_runs = evaluated(COUNCIL, "rows=4")
    shutil.rmtree("outputs/a-run")
    for chosen in ("council=asm,yaze", "council=hyrule-asm-v1,yaze-sage-v1", "council=both-moe-v1"):
        found = evaluated(chosen, "rows=4")
        assert found["experts"]["asm"]["run"] == "hyrule-asm-v1"
        assert found["sides"]["council"]["chrf"] == from_runs["sides"]["council"]["chrf"]
    assert evaluated("council=both-moe-v1", "router=embedding", "rows=2")["router"] == "keyword"


def test_a_row_that_another_expert_trained_on_is_found(at):
    evaluated(COUNCIL, "rows=2")
    row = next(row["id"] for row in rows_told() if row["expert"] == "asm")
    with Path("outputs/y-run/events.jsonl").open("a") as events:
        events.write(json.dumps({"event": "step", "samples": [row]}) + "\n")
    with pytest.raises(DataError, match=f"were used for training by y-run, for example {row}"):
        evaluated(COUNCIL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["council=asm,yase"], "council=yase: no expert of the panel"),
        (["council=asm"], "hyrule-asm"),
        (["council={asm: no-run}"], "no-run"),
        (["council={amsel: a-run}"], "council=amsel"),
        (["council=general"], "expert 'general' has no adapter"),
        ([COUNCIL, "name=a-run"], "council= cannot be combined with name="),
        ([COUNCIL, "headline=chr"], "headline is 'chr'"),
        (["council=asm,asm"], "twice"),
        (["council=7"], "council is [7]"),
    ],
)
def test_an_invalid_council_is_an_error_before_anything_is_loaded(at, words, said, monkeypatch):
    monkeypatch.setattr("hafs.modeling.base_model.Model.load", lambda *_, **__: pytest.fail("loaded a model"))
    with pytest.raises(HafsError) as error:
        evaluated(*words)
    assert said in str(error.value)
    assert error.value.exit_code == 2
