"""The gate's rules and the record that the registry reads."""

from dataclasses import replace

import pytest

from hafs import gate
from hafs.errors import RunError


def figure(base, tuned):
    difference = tuned - base
    return gate.Figure(
        base=base, tuned=tuned, difference=difference, low=difference - 0.01, high=difference + 0.01,
        ratio=tuned / base if base else None, ratio_low=None, ratio_high=None, rows=80, better="lower",
    )  # fmt: skip


def evaluation(**more):
    split = gate.HeldOut(dataset="alttp_asm", fingerprint="ab", rows=80, tokens=4000, files={"a.jsonl": "cd 12"})
    made = gate.Evaluation(
        name="run", base="tiny-none", adapter_sha256="ef", split=split, metrics={"perplexity": figure(8.0, 4.0)},
        verdict=gate.Verdict(passed=True, rules=()), skipped={"assembles": "ca65 is not installed"},
        max_new_tokens=64, date="2026-11-24T20:00:00Z", seconds=1.5,
    )  # fmt: skip
    return replace(made, **more)


def test_a_record_is_read_as_it_was_written(tmp_path):
    evaluation().write(tmp_path)
    assert gate.read(tmp_path) == evaluation()


def test_a_run_that_was_never_evaluated_has_no_record(tmp_path):
    assert gate.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1}', "[1]", '{"verdict": {"passed": "perhaps"}}'])
def test_a_damaged_record_is_told_in_one_line_with_the_command_that_mends_it(tmp_path, text):
    (tmp_path / gate.FILE).write_text(text)
    with pytest.raises(RunError) as error:
        gate.read(tmp_path)
    assert "\n" not in error.value.fact
    assert f"hafs evaluate name={tmp_path.name}" in error.value.hint
