"""Sources and manuals for continued pre-training."""

import json

from hafs.chat import count_tokens
from hafs.data.prepare import prepare, report
from hafs.data.size import files_of, size
from hafs.data.text_files import pieces


def words(texts):
    return [len(text.split()) for text in texts]


ASM = """; --------
; start of the file
lorom

; clears a buffer
Clear:
  ldx #$10
.loop
  stz $10,x
  dex
  bpl .loop
  rts

; adds two numbers
; in A
Add:
  clc
  adc $02
  rts
"""
MANUAL = "# One\n\nFirst text here.\n\n## Two\n\nSecond text is here.\n\nThird one.\n"


def test_assembly_is_cut_before_the_comments_of_a_routine():
    found = pieces(ASM, ".asm", words, 22)
    assert [piece.text.splitlines()[0] for piece in found] == ["; --------", "; adds two numbers"]
    assert [piece.line for piece in found] == [1, 14]
    assert "".join(piece.text for piece in found) == ASM
    small = pieces(ASM, ".asm", words, 13)
    assert [piece.text.splitlines()[0] for piece in small][:2] == ["; --------", "; clears a buffer"]
    assert all(sum(words(piece.text.splitlines())) <= 13 for piece in small)


def test_a_manual_is_cut_at_headings_and_then_at_empty_lines():
    assert [piece.text.split("\n")[0] for piece in pieces(MANUAL, ".md", words, 6)] == ["# One", "## Two", "Third one."]


def test_lines_longer_than_a_piece_are_cut():
    found = pieces("x " * 3000, ".txt", words, 1000)
    assert sum(len(piece.text) for piece in found) == 6000
    assert all(words([piece.text])[0] <= 1000 for piece in found)


def test_a_folder_of_sources_becomes_samples_whose_every_token_is_supervised(here, described, tokenizer):
    (here / "src/.git").mkdir(parents=True)
    (here / "src/.git/config.txt").write_text("hidden")
    (here / "src/logo.png").write_bytes(b"\x89PNG\x00\xff")
    for number in range(12):
        text = "".join(f"Routine{number}_{n}:\n  lda #${n:02X}\n  sta ${number:02X}\n  rts\n\n" for n in range(40))
        (here / f"src/part{number}.asm").write_text(text)
    dataset = described("src", kind="text", max_length=128)
    assert [path.suffix for path in files_of(dataset)] == [".asm"] * 12
    estimated = size(dataset, seed=7, tokenizer="", cache=here / "cache")
    done = prepare(dataset, tokenizer, seed=7, cache=here / "cache")
    assert done.report.formats == {"text": done.report.rows} and not done.report.rejected
    assert 0.4 < estimated.train / len(done.splits["train"]) < 2.5
    files = {}
    for name, split in done.splits.items():
        for place in range(len(split)):
            sample = split[place]
            assert len(sample.tokens) <= 128 and sample.supervised[1:].all()
            (message,) = split.conversation(place)
            assert message.content.startswith("Routine")
            files.setdefault(split.metadata(place)["split_group"], set()).add(name)
    assert all(len(names) == 1 for names in files.values())  # a file is in one split
    lengths = [len(done.splits["train"][n].tokens) for n in range(len(done.splits["train"]))]
    assert sum(lengths) / len(lengths) > 70  # pieces are as long as fits
    assert count_tokens(tokenizer, ["lda #$10"]) == [len(tokenizer("lda #$10")["input_ids"])]


def test_a_file_that_is_not_text_is_named(here, described, tokenizer):
    (here / "a.asm").write_text("Main:\n  rts\n" * 30)
    (here / "b.asm").write_text("Main:\n  rts\n" * 30, encoding="utf-16")
    done = report(described(["a.asm", "b.asm"], kind="text"), tokenizer, seed=7, cache=here / "cache")
    assert done.rejected == {"utf16": 1}
    assert json.loads(done.rejected_file.read_text())["file"] == "b.asm"
    assert "b.asm: the file is UTF-16" in done.refusal
