"""Diagnoses are right if the fix that they propose, applied to the code of their prompt, mends it."""

import json
from pathlib import Path

import pytest

from hafs.chat import Message
from hafs.evaluation.metrics import Said
from hafs.evaluation.metrics.diagnosis import parts_of
from hafs.evaluation.metrics.repairs import Repairs
from hafs.evaluation.rom.case_store import key_of, read_cases
from hafs.evaluation.rom.repair import repaired
from hafs.evaluation.rom.toolchain import missing

DATA = Path(__file__).resolve().parents[3] / "data"
CASES = str(DATA / "debug.cases.jsonl")
needs_ca65 = pytest.mark.skipif(bool(missing("ca65")), reason=missing("ca65"))
DUMP = "$0600 is one too many\n\nAdd:\n  lda $0600\n  adc #5\n  sta $0600\n  rts"
BUILD = "hack.s(2): Error: ':' expected\n\n  nop\n  jrs $9000\n  rts"


def rows():
    told = [json.loads(line) for line in (DATA / "debug.jsonl").read_text(encoding="utf-8").splitlines()]
    return {f"{row['instruction']}\n\n{row['input']}": row["output"] for row in told}


@pytest.mark.parametrize(
    ("prompt", "fix", "lines"),
    [
        (DUMP, "put `clc` in front of the adc.", "Add:|lda $0600|clc|adc #5|sta $0600|rts"),
        (DUMP, "put `clc` after `lda $0600`, or start with it.", "Add:|lda $0600|clc|adc #5|sta $0600|rts"),
        (DUMP, "insert two `nop` before the rts.", "Add:|lda $0600|adc #5|sta $0600|nop|nop|rts"),
        (DUMP, "save it: `pha` first and `pla` before the rts.", "Add:|pha|lda $0600|adc #5|sta $0600|pla|rts"),
        (DUMP, "use `adc #4`, which is one less.", "Add:|lda $0600|adc #4|sta $0600|rts"),
        (DUMP, "use `rtl` instead of `rts`.", "Add:|lda $0600|adc #5|sta $0600|rtl"),
        (DUMP, "remove the `adc #5`.", "Add:|lda $0600|sta $0600|rts"),
        (BUILD, "write `jsr $9000`.", "nop|jsr $9000|rts"),
        (BUILD, "replace it by `pea $1234`, `jmp $9000`.", "nop|pea $1234|jmp $9000|rts"),
        (DUMP, "think again.", ""),
        (DUMP, "put `clc` in front of the sbc.", ""),
        (DUMP, "use `lda $0600`.", ""),
        ("No code here, and none there.", "put `clc` in front of the adc.", ""),
    ],
)
def test_a_fix_is_applied_where_it_says(prompt, fix, lines):
    assert "|".join(line.strip() for line in repaired(prompt, fix).split("\n")) == lines


@needs_ca65
def test_the_rows_own_fix_is_right_and_no_other_diagnosis_of_the_sample_is_by_chance():
    metric, told = Repairs(cases=[CASES], seed=7, seconds=5.0, workers=2), rows()
    asked = [prompt for prompt in told if key_of(prompt) in read_cases((CASES,))]
    assert len(asked) >= 120

    def amounts(answers):
        said = [
            Said(prompt=(Message(role="user", content=prompt),), reference=told[prompt], answer=answer)
            for prompt, answer in zip(asked, answers, strict=True)
        ]
        metric.prepare(said)
        return [metric.parts(each).amount for each in said]

    own = [told[prompt] for prompt in asked]
    assert [prompt for prompt, amount in zip(asked, amounts(own), strict=True) if amount != 1] == []
    assert sum(amounts(["It works for me."] * len(asked))) == 0
    shifted = amounts([*own[1:], own[0]])
    same = [parts_of(a)["Fix"] == parts_of(b)["Fix"] for a, b in zip(own, [*own[1:], own[0]], strict=True)]
    assert sum(right and not alike for right, alike in zip(shifted, same, strict=True)) <= 2


@needs_ca65
def test_another_fix_that_does_the_same_is_right_too():
    prompt = next(prompt for prompt, output in rows().items() if "`clc` in front of the adc" in output)
    metric = Repairs(cases=[CASES], seed=7, seconds=5.0, workers=1)

    def amount(fix):
        answer = f"Cause: the carry.\nEvidence: C=1.\nFix: {fix}"
        return metric.parts(Said(prompt=(Message(role="user", content=prompt),), reference="", answer=answer)).amount

    assert amount("write `clc` first.") == 1
    assert amount("write `sec` first.") == 0
    assert amount("write `nop` first.") == 0
