"""The gate's rules and the record that the registry reads."""

from dataclasses import replace

import pytest

from hafs.config import build, compose
from hafs.core.errors import RunError
from hafs.data.enough import too_few
from hafs.evaluation import gate
from hafs.runs import evaluation_record


def figure(base, tuned):
    difference = tuned - base
    return evaluation_record.Figure(
        base=base, tuned=tuned, difference=difference, low=difference - 0.01, high=difference + 0.01,
        ratio=tuned / base if base else None, ratio_low=None, ratio_high=None, rows=80, better="lower",
    )  # fmt: skip


def evaluation(**more):
    split = evaluation_record.HeldOut(
        dataset="alttp_asm", fingerprint="ab", rows=80, tokens=4000, files={"a.jsonl": "cd 12"}
    )
    made = evaluation_record.Evaluation(
        name="run", base="tiny-none", adapter_sha256="ef", split=split, metrics={"perplexity": figure(8.0, 4.0)},
        verdict=evaluation_record.Verdict(passed=True, rules=()), skipped={"assembles": "ca65 is not installed"},
        max_new_tokens=64, date="2026-11-24T20:00:00Z", seconds=1.5,
    )  # fmt: skip
    return replace(made, **more)


def test_a_record_is_read_as_it_was_written(tmp_path):
    evaluation().write(tmp_path)
    assert evaluation_record.read(tmp_path) == evaluation()


def test_a_run_that_was_never_evaluated_has_no_record(tmp_path):
    assert evaluation_record.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1}', "[1]", '{"verdict": {"passed": "perhaps"}}'])
def test_a_damaged_record_is_told_in_one_line_with_the_command_that_fixes_it(tmp_path, text):
    (tmp_path / evaluation_record.FILE).write_text(text)
    with pytest.raises(RunError) as error:
        evaluation_record.read(tmp_path)
    assert "\n" not in error.value.fact
    assert f"hafs evaluate name={tmp_path.name}" in error.value.hint


RULES = {"perplexity": {"max_ratio": 0.9}, "rouge_l": {"min": 0.1}, "seconds_a_token": {"max": 1.0}}


@pytest.mark.parametrize("certain", [False, True])
def test_a_certain_gate_does_not_pass_with_too_few_rows_and_every_gate_says_so(certain):
    why = too_few(66, 1)
    few = replace(figure(8.0, 4.0), low=None, high=None, rows=66, groups=1, unsure=why)
    once = replace(figure(0.2, 0.1), low=None, high=None, groups=80, unsure="measured once: no interval")
    verdict = gate.gate(name="g", certain=certain, tasks=(), **RULES).judge(
        {"perplexity": few, "rouge_l": few, "seconds_a_token": once}
    )
    assert [ruling.passed for ruling in verdict.rules] == [not certain, not certain, True]
    words = [ruling.words for ruling in verdict.rules]
    assert all("(too few to say: 66 rows of 1 prompt, at least 30 of 5 needed)" in line for line in words[:2])
    assert "too few" not in words[2]


def test_a_certain_gate_does_not_accept_a_figure_that_was_measured_once():
    once = replace(figure(0.2, 0.1), low=None, high=None, groups=80, unsure="measured once: no interval")
    rules = {"seconds_a_token": {"max_increase": 0.0}}
    for certain in (False, True):
        assert (
            gate.gate(name="g", certain=certain, tasks=(), **rules).judge({"seconds_a_token": once}).passed
            is not certain
        )


def share(base, tuned, **more):
    return replace(figure(base, tuned), better="higher", unit="share", **more)


def test_the_default_gate_refuses_an_expert_that_is_not_above_its_base_at_its_task():
    config = compose("evaluate", ["name=x"]).gate
    default = build(config)
    good = {"perplexity": figure(8.0, 4.0), "forgetting": figure(2.0, 2.0)}
    assert default.judge(good).passed  # no task metric applies
    assert default.judge(good | {"executes": share(0.0, 0.1)}).passed
    for equal in ({"executes": share(0.1, 0.1)}, {"tool_calls": share(0.9, 0.8)}, {"diagnosis": share(0.2, 0.2)}):
        verdict = default.judge(good | equal)
        assert [ruling.metric for ruling in verdict.rules if not ruling.passed] == list(equal)
        assert "wanted above 0" in verdict.rules[-1].words


def test_the_gate_for_assembly_asks_for_routines_that_do_what_was_asked():
    strict = build(compose("evaluate", ["name=x", "gate=asm"]).gate)
    good = {"perplexity": figure(8.0, 4.0), "forgetting": figure(2.0, 2.0)}
    assert not strict.judge(good | {"executes": share(0.0, 0.04)}).passed
    assert strict.judge(good | {"executes": share(0.0, 0.06)}).passed
    assert not strict.judge(good).passed
