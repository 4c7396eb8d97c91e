"""Tasks of lm-eval through the loaded model; the real package where it is installed."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.evaluation.harness import Scores, harness, task_figures

INSTALLED = importlib.util.find_spec("lm_eval") is not None
TASK = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
"""
CHOICE = """task: letters_choice
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ANSWER = """task: letters_answer
output_type: generate_until
doc_to_target: "{{choices[right]}}"
generation_kwargs: {until: ["e"], max_gen_toks: 12}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
real = pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed")


@pytest.fixture
def tasks(here):
    rows = [{"question": f"After {a} comes", "choices": [" one", " seventeen", " a"], "right": i % 3}
            for i, a in enumerate("abcdefgh")]  # fmt: skip
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("mine").mkdir()
    common = TASK.format(rows=Path("rows.jsonl").resolve())
    Path("mine/choice.yaml").write_text(CHOICE + common)
    Path("mine/answer.yaml").write_text(ANSWER + common)
    return str(Path("mine"))


def tiny():
    config = compose("train", ["model=tiny", "quant=none"])
    model = build(config.model)
    net = model.load(quant=build(config.quant), dtype=torch.float32, device=torch.device("cpu"))
    return net.requires_grad_(False), model.tokenizer()


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"tasks=arc_easy needs lm-eval, which is not installed") as error:
        harness(["arc_easy"], None, None)
    assert error.value.hint == "pip install 'hafs[lm-eval]'"
    assert harness([], None, None) is None


def test_both_sides_are_paired_by_document():
    base = {"t_acc": Scores(dict.fromkeys(range(40), 0.0), True), "t_loss": Scores({0: 2.0}, False)}
    tuned = {"t_acc": Scores({i: float(i < 19) for i in range(5, 40)}, True), "t_loss": Scores({0: 1.5}, False)}
    found = task_figures(base, tuned, draws=200, seed=1)
    assert found["t_acc"].rows == 35
    assert found["t_acc"].difference == pytest.approx(14 / 35)
    assert 0 < found["t_acc"].low < found["t_acc"].high < 1
    assert (found["t_acc"].unit, found["t_loss"].better) == ("share", "lower")


@real
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_task_is_told_with_the_nearest(tasks):
    with pytest.raises(ConfigError, match="no task 'letters_chioce'") as error:
        harness(["letters_chioce"], tasks, None)
    assert "letters_choice" in error.value.hint


@real
@pytest.mark.filterwarnings("ignore")
def test_likelihoods_and_answers_are_those_of_lm_evals_own_model(tasks):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from hafs.evaluation.harness_model import HarnessModel

    net, tokenizer = tiny()
    ours = HarnessModel(net, tokenizer, concurrency=4)
    asked = [("After a comes", " one"), ("After b comes", " seventeen"), ("", "a text"), ("A longer context.", " x")]

    def requests(kind, *args):
        return [Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(args)]

    until = {"until": ["e"], "max_gen_toks": 12, "do_sample": False}
    wanted = [
        ("loglikelihood", requests("loglikelihood", *asked)),
        ("loglikelihood_rolling", requests("loglikelihood_rolling", ("Some text to read.",), ("More",))),
        ("generate_until", requests("generate_until", *((text, until) for text, _ in asked if text))),
    ]
    found = {kind: getattr(ours, kind)(given) for kind, given in wanted}
    net.set_attn_implementation("sdpa")
    theirs = HFLM(pretrained=net, tokenizer=tokenizer, batch_size=1, prefix_token_id=ours.eot_token_id)
    for kind, given in wanted:
        for mine, other in zip(found[kind], getattr(theirs, kind)(given), strict=True):
            if kind == "loglikelihood":
                assert mine[0] == pytest.approx(other[0], rel=1e-4)
                assert mine[1] == other[1]
            elif kind == "generate_until":
                assert mine == other
            else:
                assert mine == pytest.approx(other, rel=1e-4)


@real
@pytest.mark.filterwarnings("ignore")
def test_tasks_of_the_user_are_scored_by_document(tasks):
    from hafs.evaluation.harness import scores

    net, tokenizer = tiny()
    wanted = harness(["letters_choice", "letters_answer"], tasks, 6)
    found = scores(net, tokenizer, wanted, concurrency=4)
    assert found.keys() == {"letters_choice_acc", "letters_answer_exact_match"}
    assert all(sorted(score.by_document) == list(range(6)) for score in found.values())
