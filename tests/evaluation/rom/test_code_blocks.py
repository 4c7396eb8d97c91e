"""Where code stands in answers as people and models write them."""

import pytest

from hafs.evaluation.rom.source import code_of

CODE = "Main:\n  lda #$10\n  sta $10\n  rts\n"


@pytest.mark.parametrize(
    "name", ["", "asm", "ASM", "65c816", "65816", "snes", "asar", "ca65", " asm", "assembly title=x"]
)
def test_fences_of_any_name_that_means_assembly(name):
    assert code_of(f"Here:\n```{name}\n{CODE}```\nIt loads.") == CODE


def test_fences_may_be_indented_tildes_or_several():
    indented = "".join(f"   {line}\n" for line in CODE.splitlines())
    assert code_of(f"1. First:\n   ```asm\n{indented}   ```\n") == CODE
    assert code_of(f"~~~\n{CODE}~~~") == CODE
    assert code_of(f"```asm\n{CODE}```\nand\n```\n{CODE}```") == f"{CODE}\n{CODE}"


def test_the_closing_fence_of_another_language_opens_nothing():
    python = "```python\nprint(1)\n```\n"
    assert code_of(f"{python}Then add the rest and run it.\n```asm\n{CODE}```") == CODE
    assert code_of(f"{python}Add this, and jsr to it.") == ""


def test_code_without_a_fence_is_seen_and_prose_is_not():
    assert code_of(f"Use this:\n\n{CODE}\nIt stores 16.") == CODE
    indented = "".join(f"    {line}\n" for line in CODE.splitlines())
    assert code_of(f"Use this:\n\n{indented}\nAnd that is it.") == CODE
    assert code_of("rep #$30\nlda.w #$1234 ; sixteen bits\nsta !ram,x\n-  dex\nbne -\n").count("\n") == 5
    for prose in (
        "`lda #$10` loads 16",
        "And then you add one.\nInc is faster than adc here.",
        "SEP sets bits.\nREP clears them.",
    ):
        assert code_of(prose) == ""
