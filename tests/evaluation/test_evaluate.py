"""Evaluating finished runs of the tiny model, through the command's own function; three planted cases for the gate."""

import json
import random
import shutil
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hafs.commands.evaluate import Settings, evaluate
from hafs.config import check, compose
from hafs.core import durable, records
from hafs.core.errors import ConfigError, DataError, GateRefused, RunError
from hafs.evaluation.rom import asking
from hafs.evaluation.rom.toolchain import missing
from hafs.runs import evaluation_record
from hafs.train import Settings as TrainSettings
from hafs.train import train

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("add", "load", "store", "push", "pull", "jump", "shift", "rotate", "branch", "compare", "clear", "set", "move")
TRAIN = [
    "model=tiny", "quant=none", "dataset=jsonl", "precision=fp32", "logger=none", "trainer=cpu", "show.measured=0",
    "show.prompts=0", "callbacks.generations.prompts=0", "callbacks.progress=null", "adapter.r=4", "stage=main",
    "stage.main.epochs=1", "stage.main.warmup_steps=0", "dataset.test_fraction=0.4", "on_worse=continue",
]  # fmt: skip


def rows(count=90):
    return [
        {"instruction": f"{WORDS[i % 13]} {i}", "output": f"{WORDS[(i * 5) % 13]} the value {i * 3} into bank {i % 7}"}
        for i in range(count)
    ]


def noise(count=90):
    dice = random.Random(3)
    return [row | {"output": "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(12))} for row in rows(count)]


def known_before():
    """Rows in other letters than those of the training data: the random base gives them as much as anything."""
    dice = random.Random(4)
    return [
        {"instruction": f"{i}?", "output": "".join(chr(dice.randrange(0x4E00, 0x9FFF)) for _ in range(40))}
        for i in range(30)
    ]


def write(path, data):
    Path(path).write_text("\n".join(map(json.dumps, data)) + "\n")


def trained(name, data, *words):
    write(f"{name}.jsonl", data)
    config = compose("train", [*TRAIN, f"name={name}", f"dataset.path={name}.jsonl", *words])
    check(config, TrainSettings)
    train(config)


def planted(name, adapter):
    """The good run with another adapter in its folder."""
    shutil.copytree("outputs/good", f"outputs/{name}")
    replace_adapter(name, adapter)


def replace_adapter(name, adapter, **tensors):
    def write(draft):
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(Path(adapter) / file, draft)
        if tensors:
            save_file(tensors, draft / "adapter_model.safetensors")

    durable.commit(Path(f"outputs/{name}/adapter"), write)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on the same data: a good one, one whose stage was never trained, one tuned on noise, one that forgot."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained("good", rows(), "stage.main.lr=3e-3", "stage.main.epochs=2")
        trained("noise", noise(), "stage.main.lr=3e-2", "stage.main.epochs=4")
        trained("forgetful", rows(), "model.weights.hidden_size=384", "stage.main.lr=5e-3", "stage.main.epochs=4")
        planted("untrained", "outputs/good/stages/00-base/adapter")
        planted("noisy", "outputs/noise/adapter")
        general = (ROOT / "data/general.jsonl").read_text().splitlines()
        Path("general.jsonl").write_text("\n".join(general[::2]) + "\n")
        write("known.jsonl", known_before())
    return folder


@pytest.fixture
def at(runs, tmp_path, monkeypatch):
    """A copy of the runs that a test may break."""
    shutil.copytree(runs, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def evaluated(*words):
    config = compose("evaluate", ["max_new_tokens=6", "draws=200", "general=general.jsonl", *words])
    check(config, Settings)
    evaluate(config)


def record(name):
    found = evaluation_record.read(Path("outputs") / name)
    assert found is not None
    return found


@pytest.mark.skipif(bool(missing("asar")), reason=missing("asar") or "-")
def test_the_rom_suite_compares_both_sides_and_leaves_a_page(at, monkeypatch, capsys):
    monkeypatch.setattr(asking, "ANSWER_TOKENS", 8)
    evaluated("name=good", "tasks=rom", "tasks_limit=1", "rows=30", "samples=2")
    found = record("good").metrics["rom_executes"]
    assert (found.base, found.tuned, found.rows, found.unit) == (0.0, 0.0, 10, "share")
    text = Path("outputs/good/rom_tasks.html").read_text()
    assert "base: 0 of 10 tasks right" in text
    assert "tuned: 0 of 10 tasks right" in text
    assert "rom tasks  tuned: 0 of 10" in capsys.readouterr().out


def test_a_good_run_passes_and_leaves_record_page_and_rows(at, capsys):
    evaluated("name=good")
    found = record("good")
    assert found.verdict.passed
    assert found.metrics["perplexity"].ratio_high < 0.9
    assert {"token_accuracy", "rouge_l", "chrf", "eos_rate", "seconds_per_token", "forgetting"} <= found.metrics.keys()
    assert not {"assembles", "tool_calls", "diagnosis"} & found.metrics.keys()
    lines = [json.loads(line) for line in Path("outputs/good/evaluation_rows.jsonl").read_text().splitlines()]
    assert len(lines) == found.split.rows >= 30
    assert lines[0]["tuned"]["nats"] != lines[0]["base"]["nats"]
    html = Path("outputs/good/evaluation.html").read_text()
    assert "<script" not in html
    assert "http" not in html.split("</style>")[1]
    assert "the gate passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "rule"), [("untrained", "perplexity"), ("noisy", "perplexity"), ("forgetful", "forgetting")]
)
def test_the_gate_refuses_planted_cases_and_names_the_rule(at, name, rule):
    with pytest.raises(GateRefused, match=rule) as refusal:
        evaluated(f"name={name}", "max_new_tokens=0", *(["general=known.jsonl"] if name == "forgetful" else []))
    assert refusal.value.exit_code == 4
    assert ("lower rate" if name == "forgetful" else "more rows") in str(refusal.value.hint)
    failed = [ruling for ruling in record(name).verdict.rules if not ruling.passed]
    assert rule in {ruling.metric for ruling in failed}
    assert all(ruling.low <= ruling.figure <= ruling.high for ruling in failed)
    if name == "forgetful":
        assert record(name).metrics["perplexity"].ratio < 0.9


def test_the_untrained_adapter_is_the_base_to_the_last_digit(at):
    with pytest.raises(GateRefused):
        evaluated("name=untrained", "max_new_tokens=4")
    figures = record("untrained").metrics
    assert all(figures[name].difference == 0 for name in ("perplexity", "token_accuracy", "rouge_l", "forgetting"))


def test_five_rows_are_too_few_to_say_and_a_certain_gate_refuses_them(at, capsys):
    evaluated("name=good", "max_new_tokens=0", "rows=5")
    said = " ".join(capsys.readouterr().out.split())
    told = said[said.index("good: the gate passed; ") :].partition(" wrote ")[0]
    assert "too few to say on perplexity, bits_per_byte, token_accuracy" in told, told
    assert "(5 rows of 5 prompts, at least 30 of 5 needed)" in told, told
    assert "significantly" not in told or "on forgetting;" in told, told  # it has 32 rows of its own
    with pytest.raises(GateRefused, match=r"perplexity: .* \(too few to say: 5 rows of 5 prompts") as refusal:
        evaluated("name=good", "max_new_tokens=0", "rows=5", "gate.certain=true", "gate.forgetting=null")
    assert "dataset.test_fraction=" in str(refusal.value.hint)


def test_two_runs_are_compared_without_touching_the_record(at, capsys):
    evaluated("a=untrained", "b=good")
    assert evaluation_record.read(Path("outputs/good")) is None
    found = evaluation_record.read(Path("outputs/good/against/untrained"))
    assert (found.name, found.base) == ("good", "untrained")
    assert found.metrics["perplexity"].ratio_high < 1
    assert "good compared with untrained: significantly better on perplexity" in capsys.readouterr().out


def test_a_test_row_that_was_trained_on_is_found(at):
    evaluated("name=good", "max_new_tokens=0", "rows=5")
    row = json.loads(Path("outputs/good/evaluation_rows.jsonl").read_text().splitlines()[0])["id"]
    with Path("outputs/good/events.jsonl").open("a") as events:
        events.write(json.dumps({"event": "step", "samples": [row]}) + "\n")
    with pytest.raises(DataError, match=f"1 of .* test rows were used for training by good, for example {row}"):
        evaluated("name=good")


def test_a_test_row_of_early_stopping_or_a_prompt_that_was_seen_is_found(at):
    from hafs.evaluation.subject import data_of, open_run, refuse_seen

    subject = open_run(Path("outputs/good"))
    data = data_of(subject, subject.model.tokenizer())
    test, val = data.splits["test"], data.splits["val"]
    refuse_seen(test, subject, data)
    with pytest.raises(DataError, match="test rows were used for early stopping by good"):
        refuse_seen(test, subject, replace(data, splits={**data.splits, "val": test}))
    renamed = copy(val)
    renamed.ids = [f"other-{i}" for i in range(len(val))]
    with pytest.raises(DataError, match="prompts of the test split of good are also in its val split"):
        refuse_seen(renamed, subject, data)


def test_changed_data_is_refused_with_both_hashes(at):
    with Path("good.jsonl").open("a") as file:
        file.write(json.dumps({"instruction": "new", "output": "row"}) + "\n")
    with pytest.raises(DataError, match=r"the data of good has changed since training: fingerprint \w+ then, \w+ now"):
        evaluated("name=good")


def test_a_run_without_a_test_split_is_told_how_to_get_one(at):
    trained("blind", rows(), "dataset.test_fraction=0", "stage.main.samples=8", "stage.main.lr=1e-3")
    with pytest.raises(DataError, match="no test split"):
        evaluated("name=blind")


def test_an_adapter_with_nan_or_other_bytes_is_rejected(at):
    tensors = load_file("outputs/good/adapter/adapter_model.safetensors")
    with Path("outputs/good/adapter/adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(RunError, match="is damaged"):
        evaluated("name=good")
    next(iter(tensors.values()))[0, 0] = float("nan")
    replace_adapter("good", "outputs/noisy/adapter", **tensors)
    with pytest.raises(RunError, match="NaN or infinity"):
        evaluated("name=good")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["name=god"], "there is no run 'god' in outputs"),
        ([], "choose the run to evaluate with name="),
        (["a=good"], "b= is missing"),
        (["a=good", "b=good"], "a and b are both 'good'"),
        (["name=good", "a=good", "b=noisy"], "name= cannot be combined with a= and b="),
        (["name=good", "general=nowhere.jsonl"], "general='nowhere.jsonl' cannot be read"),
        (["name=good", "+gate.perplexity.max_ration=0.9"], "gate.perplexity has no rule 'max_ration'"),
        (["name=good", "gate.perplexity={max_ratio: x}"], "gate.perplexity.max_ratio is 'x'"),
        (["name=good", "+gate.perplexty={max: 3}"], "gate.perplexty is a rule for an unknown metric"),
        (["name=good", "rows=0"], "rows is 0"),
        (["name=good", "max_new_tokens=many"], "max_new_tokens is 'many'"),
    ],
)
def test_contradictory_settings_are_an_error_before_anything_is_loaded(at, words, said, monkeypatch):
    monkeypatch.setattr("hafs.modeling.base_model.Model.load", lambda *_, **__: pytest.fail("loaded a model"))
    with pytest.raises((ConfigError, DataError, RunError)) as error:
        evaluated(*words)
    assert said in str(error.value)
    assert error.value.exit_code == 2


def test_an_unfinished_run_is_told_how_to_finish_it(at):
    shutil.rmtree("outputs/good/adapter")
    with pytest.raises(RunError, match="not finished") as error:
        evaluated("name=good")
    assert "name=good" in error.value.hint


def test_a_run_of_another_version_is_told_in_one_line(at):
    record = records.read_record(Path("outputs/good/run.json"))
    del record["config"]["model"]["gradient_checkpointing"]
    records.write_record(Path("outputs/good/run.json"), record)
    with pytest.raises(RunError, match=r"another version of hafs: .*gradient_checkpointing") as error:
        evaluated("name=good")
    assert "\n" not in error.value.fact


def test_a_fully_trained_run_is_compared_with_its_base(at):
    words = ["adapter=none", "stage.main.samples=16", "stage.main.lr=1e-3"]
    common = [word for word in TRAIN if not word.startswith("adapter.")]
    write("full.jsonl", rows())
    train(compose("train", [*common, "name=full", "dataset.path=full.jsonl", *words]))
    evaluated("name=full", "max_new_tokens=0", "gate.perplexity={max_ratio: 0.999}", "gate.forgetting=null")
    assert record("full").metrics["perplexity"].ratio < 0.999


def test_perplexity_is_that_of_transformers_on_the_same_tokens(at):
    from hafs.evaluation.rows import asked, put_to
    from hafs.evaluation.subject import SwitchableModel, data_of, held_out, open_run

    subject = open_run(Path("outputs/good"))
    loaded = SwitchableModel(subject)
    split = held_out(subject, data_of(subject, loaded.tokenizer))
    conversations = [split.conversation(i) for i in range(len(split))]
    with loaded.tuned() as net:
        ours = put_to(net, loaded.tokenizer, conversations, max_new_tokens=0, concurrency=1)
        net.get_base_model().set_attn_implementation("eager")
        for said, conversation in zip(ours, conversations, strict=True):
            row = asked(conversation, loaded.tokenizer)
            ids = torch.tensor(row.sample.tokens.astype(int))[None]
            labels = ids.masked_fill(~torch.tensor(row.sample.supervised)[None], -100)
            with torch.no_grad():
                theirs = float(net(input_ids=ids, labels=labels).loss)
            assert said.nats / said.supervised == pytest.approx(theirs, rel=1e-5)
            assert said.bytes == len(conversation[-1].content.encode())
