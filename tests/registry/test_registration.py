"""From a run's folder to a model that answers, through the commands' own functions."""

import subprocess
import sys

import pytest
from huggingface_hub import ModelCard
from omegaconf import OmegaConf
from tiny_runs import COMMON, write_rows

from hafs.commands import models, new, promote, register, revert
from hafs.config import build, check, compose
from hafs.core import durable, records
from hafs.core.errors import GateRefused, HafsError
from hafs.registry import names
from hafs.registry.registry import Registry, fingerprint
from hafs.runs import evaluation_record


def make_run(here, name="hyrule-asm-v1", seed=0, passed=True, evaluated=True):
    """A finished run's folder without the training: a config, an adapter, an evaluation."""
    folder = here / "outputs" / name
    folder.mkdir(parents=True)
    words = [w for w in COMMON if not w.startswith(("stage.", "name="))]
    config = OmegaConf.to_container(compose("train", [*words, f"name={name}"]), resolve=True)
    records.write_record(folder / "run.json", {"config": config, "data": "gone"})

    def write(draft):
        (draft / "adapter_model.safetensors").write_bytes(b"tensors %d" % seed)
        (draft / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (draft / "README.md").write_text("PEFT's own")

    durable.commit(folder / "adapter", write)
    if evaluated:
        figure = evaluation_record.Figure(
            base=9.0, tuned=3.5, difference=-5.5, low=-6.0, high=-5.0, ratio=0.39, ratio_low=0.3, ratio_high=0.5,
            rows=80, better="lower",
        )  # fmt: skip
        ruling = evaluation_record.Ruling(
            metric="perplexity", rule="max_ratio", limit=0.9, figure=0.39, low=0.3, high=0.5, passed=passed,
            words="perplexity: tuned over base is 0.39 [0.3, 0.5], wanted at most 0.9",
        )  # fmt: skip
        split = evaluation_record.HeldOut(dataset="jsonl", fingerprint="gone", rows=80, tokens=4000, files={})
        evaluation_record.Evaluation(
            name=name, base="tiny-none", adapter_sha256=fingerprint(folder / "adapter")[0], split=split,
            metrics={"perplexity": figure}, verdict=evaluation_record.Verdict(passed=passed, rules=(ruling,)),
            skipped={},
            max_new_tokens=64, date="2026-11-25T01:00:00Z", seconds=1.0,
        ).write(folder)  # fmt: skip
    return folder


def go(command, *words):
    name = command.__name__.rsplit(".", 1)[-1]
    config = compose(name, [*words, "registry.path=mine.toml"])
    check(config, command.Settings)
    return getattr(command, name)(config)


@pytest.fixture
def rows(here):
    write_rows(here / "rows.jsonl")
    return here


def test_a_run_that_passed_is_registered_shown_promoted_and_rolled_back(rows, capsys):
    make_run(rows)
    make_run(rows, "my_run", seed=2)
    go(register, "name=hyrule-asm-v1", "specialization='65816 assembly'")
    said = capsys.readouterr().out
    assert "hafs promote hyrule-asm-v1" in said
    assert "exports cannot be verified" in said  # the run's data is gone
    go(register, "name=my_run", "under=hyrule-asm-v2", "parents=[hyrule-asm-v1]")
    go(promote, "version=hyrule-asm-v1")
    go(promote, "version=hyrule-asm-v2")
    assert "hyrule-asm-v2 answers for hyrule-asm from now on instead of hyrule-asm-v1" in capsys.readouterr().out
    go(models)
    table = capsys.readouterr().out
    assert "production" in table and "retired" in table
    go(revert, "family=hyrule-asm")
    registry = Registry.open("mine.toml")
    assert registry.get("hyrule-asm").name == "hyrule-asm-v1"
    assert registry.get("hyrule-asm-v2").parents == ["hyrule-asm-v1"]
    go(models, "what=show hyrule-asm-v2")
    assert "made from hyrule-asm-v1" in capsys.readouterr().out
    assert not (registry.adapter("hyrule-asm") / "run.json").samefile("outputs/hyrule-asm-v1/run.json")


def test_the_card_is_in_the_hubs_format(rows):
    make_run(rows)
    go(register, "name=hyrule-asm-v1")
    folder = Registry.open("mine.toml").adapter("hyrule-asm-v1")
    found = ModelCard.load(folder / "README.md")
    assert found.data.library_name == "peft"
    assert found.data.model_name == "hyrule-asm-v1"
    (result,) = found.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_type) == ("perplexity", 3.5, "rows")
    assert "-6 to -5" in found.text and "holds: perplexity" in found.text
    durable.verify(folder)


def test_only_what_the_gate_passed_is_registered_unless_forced(rows, capsys):
    make_run(rows, "bad-asm-v1", passed=False)
    with pytest.raises(GateRefused, match="perplexity: tuned over base") as refused:
        go(register, "name=bad-asm-v1")
    assert refused.value.exit_code == 4
    make_run(rows, "new-asm-v1", seed=1, evaluated=False)
    with pytest.raises(HafsError, match="never evaluated") as never:
        go(register, "name=new-asm-v1")
    assert never.value.exit_code == 2
    assert not (rows / "mine.toml").exists()
    go(register, "name=bad-asm-v1", "force=true")
    go(register, "name=new-asm-v1", "force=true")
    go(promote, "version=bad-asm-v1")
    assert "the gate refused this version" in capsys.readouterr().out
    assert Registry.open("mine.toml").get("bad-asm-v1").gate.forced
    assert "force=true" in (rows / "mine/new-asm-v1/README.md").read_text()


def test_an_adapter_trained_after_its_evaluation_is_not_registered(rows):
    folder = make_run(rows)
    durable.commit(folder / "adapter", lambda d: [(d / n).write_text("{}") for n in
                                                  ("adapter_model.safetensors", "adapter_config.json")])  # fmt: skip
    with pytest.raises(HafsError, match="has changed since the evaluation"):
        go(register, "name=hyrule-asm-v1")


def test_other_bytes_need_another_name_and_a_name_is_proposed(rows):
    make_run(rows, "some_run-lora16")
    go(register, "name=some_run-lora16")
    go(register, "name=some_run-lora16")
    assert list(Registry.open("mine.toml").entries()) == ["some_run-lora16-v1"]
    make_run(rows, "other", seed=5)
    with pytest.raises(HafsError, match="names are immutable") as taken:
        go(register, "name=other", "under=some_run-lora16-v1")
    assert taken.value.hint == "under=some_run-lora16-v2"
    go(register, "name=other", "under=some_run-lora16")
    assert "some_run-lora16-v2" in Registry.open("mine.toml").entries(), "a family is given its next version"


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (register, ["name=nothing"], "there is no run 'nothing'"),
        (register, ["name=hyrule-asm-v1", "under=../x"], "is not a model name"),
        (register, ["mixture=triforce-moe"], "a mixture needs experts"),
        (register, ["mixture=triforce-moe", "of=[hyrule-asm-v9]"], "is not in the registry"),
        (register, ["mixture=../x", "of=[known-asm-v1]"], "is not a model name"),
        (register, ["mixture=triforce-moe", "of=[known-asm-v1]", "router=cascad"], "router has no option 'cascad'"),
        (register, ["mixture=triforce-moe", "of=[known-asm-v1,known-asm-v1]"], "listed twice"),
        (register, ["of=[known-asm-v1]"], "lists the models of a mixture"),
        (promote, [], "no version was given"),
        (promote, ["version=hyrule-asm"], "is not a version"),
        (promote, ["version=hyrule-asm-v9"], "is not in the registry"),
        (revert, ["family=hyrule-asm"], "is not in the registry"),
        (models, ["what=list"], "got 'list', expected"),
        (models, ["what=show nothing"], "is not in the registry"),
    ],
)
def test_bad_words_get_one_line_and_exit_code_2(rows, command, words, said):
    make_run(rows)
    if any("known" in word for word in words):
        make_run(rows, "known-asm-v1", seed=3)
        go(register, "name=known-asm-v1")
    with pytest.raises(HafsError, match=said) as wrong:
        go(command, *words)
    assert wrong.value.exit_code == 2
    assert "\n" not in wrong.value.fact


def test_a_mixture_is_registered_over_its_experts(rows, capsys):
    make_run(rows)
    go(register, "name=hyrule-asm-v1")
    go(promote, "version=hyrule-asm-v1")
    for _ in range(2):
        go(register, "mixture=triforce-moe", "of=[hyrule-asm]")
    go(models)
    go(models, "what=show triforce-moe-v1")
    said = capsys.readouterr().out
    assert "a mixture of hyrule-asm-v1 behind the cascade router" in said, "a family is its version in production"
    go(register, "mixture=triforce-moe", "of=[hyrule-asm-v1]", "router=keyword")
    found = [name for name in Registry.open("mine.toml").entries() if names.family(name) == "triforce-moe"]
    assert found == ["triforce-moe-v1", "triforce-moe-v2"], "the same mixture again is the same entry"
    with pytest.raises(HafsError, match="names are immutable"):
        go(register, "mixture=triforce-moe-v1", "of=[hyrule-asm-v1]", "router=keyword")
    (rows / "mine/hyrule-asm-v1/adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(HafsError, match="have changed since"):
        go(promote, "version=triforce-moe-v1")


def test_the_commands_take_their_words_as_typed(rows):
    make_run(rows)
    go(register, "name=hyrule-asm-v1")
    for command, word in (("promote", "hyrule-asm-v1"), ("models", "show hyrule-asm")):
        out = subprocess.run(
            [sys.executable, "-m", "hafs", command, *word.split(), "registry.path=mine.toml"],
            check=False, capture_output=True, text=True, timeout=60, cwd=rows,
        )  # fmt: skip
        assert out.returncode == 0, out.stderr
        assert "hyrule-asm-v1" in out.stdout


def test_a_new_expert_is_asked_with_the_base_that_its_adapter_was_made_for(rows, capsys):
    make_run(rows)
    go(register, "name=hyrule-asm-v1")
    go(promote, "version=hyrule-asm-v1")
    go(new, "what='expert hyrule-asm'")
    told = capsys.readouterr().out.splitlines()[-1]
    assert "expert=hyrule-asm,general provider.local.models.coding=tiny provider.local.host.quant=none" in told
    chosen = ["expert=general", "provider.local.models.coding=tiny"]
    assert set(build(compose("ask", chosen).providers.local).models.values()) == {"tiny"}
