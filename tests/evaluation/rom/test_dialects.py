"""asar beside ca65: which one code is written for, and the sample's edition for asar."""

import json
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hafs.config import compose
from hafs.evaluation.metrics.executes import Executes
from hafs.evaluation.rom.source import code_of, guessed, guessed_note
from hafs.evaluation.rom.toolchain import assembler, missing

DATA = Path(__file__).resolve().parents[3] / "data"
sys.path.insert(0, str(DATA))

from generate import asm  # noqa: E402
from generate.asm.asar import to_asar  # noqa: E402
from generate.asm.cases import assemble  # noqa: E402

needs_both = pytest.mark.skipif(
    bool(missing("asar") or missing("ca65")), reason=missing("asar") or missing("ca65") or "-"
)


def rows_of(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("code", "syntax"),
    [
        ("rep #$20\n  .a16\n  lda #$0012\n  rts", "ca65"),
        ("@loop:\n  dex\n  bne @loop", "ca65"),
        ("table:\n  .byte 1, 2", "ca65"),
        ("org $008000\n  jsl Hook", "asar"),
        ("!count = $7EF360\n  lda.l !count", "asar"),
        ("  LDA #$01 : STA $0400\n  RTS", "asar"),
        ("Main:\n.loop:\n  dex\n  bne .loop", "asar"),
        ("freecode\nHook:\n  rtl", "asar"),
        (".repeat 4\n  nop\n.endrep", "ca65"),
    ],
)
def test_the_dialect_of_foreign_code_is_guessed(code, syntax):
    assert guessed(code) == syntax
    assert f"1 {syntax}" in guessed_note([code])


def test_the_guess_is_right_about_nearly_all_rows_of_both_editions():
    for name, syntax in (("alttp_asm.jsonl", {"ca65"}), ("alttp_asm.asar.jsonl", {"asar", "ca65"})):
        codes = [code for row in rows_of(name) if (code := code_of(row["output"]))]
        assert {guessed(code) for code in codes} == syntax  # without a directive or label, both read the same


def test_the_asar_edition_has_the_same_rows_and_more_and_names_its_assembler():
    ours, theirs = rows_of("alttp_asm.jsonl"), rows_of("alttp_asm.asar.jsonl")
    assert [row["split_group"] for row in theirs[: len(ours)]] == [row["split_group"] for row in ours]
    assert {row["split_group"] for row in theirs[len(ours) :]} == {
        f"scene_{name}" for name in ("defines", "one_line", "local_labels", "pushpc", "freecode", "sized_hook")
    }
    assert {row["syntax"] for row in theirs} == {"asar"}
    assert [r for r in theirs if re.search(r"ca65|\.(a8|a16|i8|i16|byte|word|addr)\b", str(r))] == []


def test_the_dataset_is_chosen_with_its_syntax():
    path = compose("validate", ["dataset=alttp_asm", "dataset.syntax=asar"]).dataset.path
    assert Path(path).name == "alttp_asm.asar.jsonl"
    assert Path(compose("validate", ["dataset=alttp_asm"]).dataset.path).name == "alttp_asm.jsonl"


def differing(codes):
    """Code that asar makes other bytes of than ca65."""
    own, asar = assemble(codes), assembler("asar")

    def translated(code):
        with tempfile.TemporaryDirectory() as folder:
            return asar.assemble(to_asar(code), Path(folder), 10)

    with ThreadPoolExecutor(2) as pool:
        return [code for code, a, b in zip(codes, own, pool.map(translated, codes), strict=True) if a != b]


def blocks():
    return sorted({text for row in asm.build(7) for text in (row.code, row.broken, row.equal) if text})


@needs_both
def test_translated_blocks_are_the_same_bytes():
    assert differing(blocks()[::12]) == []


@needs_both
@pytest.mark.long
def test_all_translated_blocks_are_the_same_bytes():
    assert len(blocks()) >= 760
    assert differing(blocks()) == []


@needs_both
def test_answers_of_the_asar_edition_do_what_is_asked():
    rows = rows_of("alttp_asm.asar.jsonl")
    few = [*rows[:800:60], *rows[800::6]]
    metric = Executes(cases=[str(DATA / "alttp_asm.cases.jsonl")], seed=7, seconds=10, workers=2)
    asked = [(f"{row['instruction']}\n\n{row['input']}".strip(), row["output"], "asar") for row in few]
    asked = [each for each in asked if "```" in each[1]]
    found = metric.verdicts(asked)
    assert len(found) >= 18
    assert [(ask[0], each.why) for ask, each in zip(asked, found, strict=True) if not each.right] == []


ROUTINE = "rep #$30\nlda #$1234\nsep #$20\nlda #$12\nrts"
AS_WRITTEN = {
    "fence 65c816": f"Here:\n```65c816\n{ROUTINE}\n```\nDone.", "fence snes": f"```snes\n{ROUTINE}\n```",
    "fence ASM": f"```ASM\n{ROUTINE}\n```", "no fence": ROUTINE,
    "indented": "1. Do:\n\n   ```asm\n   " + ROUTINE.replace("\n", "\n   ") + "\n   ```\n",
    "after a block of Python": f"```python\nprint(1)\n```\nThen:\n```asm\n{ROUTINE}\n```",
}  # fmt: skip


@needs_both
@pytest.mark.parametrize("name", AS_WRITTEN)
def test_code_as_people_write_it_assembles_with_the_widths_of_rep_and_sep(name, tmp_path):
    made = assembler("ca65").assemble(code_of(AS_WRITTEN[name]), tmp_path, 10)
    assert made.startswith(bytes.fromhex("C230 A93412 E220 A912 60"))


def test_the_closing_fence_of_other_code_opens_no_block():
    assert code_of("```python\nprint(1)\n```\nlda is not used here.\n") == ""


@needs_both
def test_widths_that_the_code_states_are_not_derived(tmp_path):
    made = assembler("ca65").assemble(".a16\nlda #$12\nsep #$20\nlda #$12\nrts", tmp_path, 10)
    assert made.startswith(bytes.fromhex("A91200 E220 A91200 60"))
