"""What each metric says about one row."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hafs.chat import Call, Message
from hafs.config import compose
from hafs.config.build import build
from hafs.config.tree import options
from hafs.evaluation.metrics import Said
from hafs.evaluation.metrics.assembles import Assembles
from hafs.evaluation.metrics.diagnosis import Diagnosis, word_f1
from hafs.evaluation.metrics.exact_match import ExactMatch
from hafs.evaluation.metrics.perplexity import Perplexity
from hafs.evaluation.metrics.rouge_l import rouge_l
from hafs.evaluation.metrics.tool_calls import ToolCalls
from hafs.evaluation.rom import toolchain
from hafs.evaluation.rom.source import code_of

API = str(Path(__file__).resolve().parents[2] / "data" / "yaze_api.json")
CA65 = Assembles(seconds=10, workers=1)
needs_ca65 = pytest.mark.skipif(not shutil.which("ca65"), reason="ca65 (cc65) is not installed")


def said(answer, reference="", **more):
    prompt = (Message(role="user", content="?"),)
    return replace(Said(prompt=prompt, reference=reference, answer=answer, tokens=3, ended=True), **more)


def amount(metric, answer, reference):
    parts = metric.parts(said(answer, reference))
    return None if parts is None else parts.amount


def test_every_metric_of_the_group_has_a_file_of_its_own_and_leaves_out_what_was_not_asked():
    chosen = [compose("evaluate", [f"metrics={name}"]).metrics for name in options("metrics")]
    metrics = {name: build(node) for nodes in chosen for name, node in nodes.items() if node}
    files = {path.stem for path in (Path(__file__).resolve().parents[2] / "hafs/evaluation/metrics").glob("[a-z]*.py")}
    assert {type(metric).__module__.rsplit(".", 1)[-1] for metric in metrics.values()} == files
    assert all(metric.parts(said(None)) is None for metric in metrics.values())


def test_perplexity_is_the_exponential_of_the_mean_over_tokens_not_over_rows():
    metric = Perplexity()
    parts = [metric.parts(said("", nats=nats, supervised=n)) for nats, n in ((2.0, 1), (3.0, 9))]
    assert metric.value(sum(p.amount for p in parts), sum(p.weight for p in parts)) == pytest.approx(math.exp(0.5))


def test_exact_match_forgives_white_space_at_the_ends_alone():
    assert amount(ExactMatch(), " a b\n", "a b") == 1
    assert amount(ExactMatch(), "a  b", "a b") == 0


GOOD = "```asm\nfill:\n  lda #$10\n  sta $7E0010\n  jsr elsewhere\n  rts\n```\nIt fills."


@needs_ca65
@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (GOOD, 1),
        ("No code here.", 0),
        ("```asm\n  lda #$10 $10\n```", 0),
        ("```asm\n  lda #$10\n  rts", 0),  # cut in the middle of the block
        ("```\n  lda #$10\n```", 1),
        ('```asm\n  .incbin "/etc/hostname"\n  rts\n```', 0),
        ('```asm\nx: .include "/etc/passwd"\n  rts\n```', 0),
        ("```asm\n```", 0),
        ("```asm\n; only words\n```", 0),
        ("```asm\n  lda \ud800\n```", 0),
    ],
)
def test_assembles_asks_the_assembler(answer, right):
    assert amount(CA65, answer, GOOD) == right


@needs_ca65
@pytest.mark.parametrize("reference", ["It takes 32 bytes.", "```asm\n  lda $1,y,x\n```"])
def test_assembles_looks_only_at_rows_whose_own_code_assembles(reference):
    assert amount(CA65, GOOD, reference) is None


def test_without_an_assembler_the_metric_says_so(monkeypatch):
    monkeypatch.setattr(toolchain, "program", lambda name: None)
    assert "ca65 and ld65 are not installed" in CA65.missing()


def test_code_is_what_stands_between_fences():
    assert code_of(GOOD).startswith("fill:")
    assert code_of("`lda #$10` loads 16") == ""


CALL = json.dumps({"tool": "resource-list", "arguments": {"type": "room"}})


@pytest.mark.parametrize(
    ("answer", "parses", "known", "valid", "same"),
    [
        (CALL, 1, 1, 1, 1),
        (CALL.replace("room", "item"), 1, 1, 1, 0),
        (CALL.replace('"room"', "4"), 1, 1, 0, 0),
        (CALL.replace("room", "rooms"), 1, 1, 0, 0),
        (CALL.replace("resource", "rooms"), 1, 0, 0, 0),
        (f"Sure: {CALL}", 0, 0, 0, 0),
        (CALL[:-1], 0, 0, 0, 0),
        ("[" * 100_000, 0, 0, 0, 0),
        ('{"tool": ["resource-list"], "arguments": {}}', 0, 0, 0, 0),
        ("null", 0, 0, 0, 0),
    ],
)
def test_tool_calls_are_judged_at_four_levels(answer, parses, known, valid, same):
    levels = [amount(ToolCalls(api=API, must=must), answer, CALL) for must in ("parses", "known", "valid", "same")]
    assert levels == [parses, known, valid, same]


def test_tool_calls_look_only_at_rows_that_are_valid_calls():
    metric = ToolCalls(api=API, must="valid")
    assert amount(metric, CALL, "Which room?") is None
    assert "describes no functions" in ToolCalls(api="nowhere.json", must="valid").missing()


CASE = "Cause: DB is not $7E.\nEvidence: the store went to $7F16B0.\nFix: put `plb` before the sta."


def test_a_diagnosis_needs_its_three_parts():
    metric = Diagnosis()
    assert amount(metric, CASE, CASE) == 1
    assert amount(metric, CASE.replace("Evidence", "Proof"), CASE) == pytest.approx(2 / 3)
    assert amount(metric, "It is the data bank.", CASE) == 0
    assert amount(metric, CASE, "It is the data bank.") is None


def test_words_of_a_diagnosis_are_compared_as_written_in_assembler():
    assert word_f1("lda #$10", "lda #$10") == 1
    assert 0 < word_f1("lda #$10", "lda #$11") < 1
    assert word_f1("", "lda") == 0


ROOM = {"type": "function", "function": {"name": "get_room", "parameters": {
    "type": "object", "properties": {"room": {"type": "integer"}}, "required": ["room"]}}}  # fmt: skip


def call(**arguments):
    return (Call(name="get_room", arguments=arguments),)


@pytest.mark.parametrize(
    ("called", "expected", "parses", "valid", "same"),
    [
        (call(room=4), call(room=4), 1, 1, 1),
        (call(room=5), call(room=4), 1, 1, 0),
        (call(room="4"), call(room=4), 1, 0, 0),
        (call(room=4) * 2, call(room=4), 1, 1, 0),
        ((), call(room=4), 0, 0, 0),
        (call(room=4), (), 0, 0, 0),
        ((), (), 1, 1, 1),
    ],
)
def test_rows_with_tools_of_their_own_are_judged_by_those(called, expected, parses, valid, same):
    prompt = (Message(role="user", content="?", tools=(ROOM,)),)
    row = said("whatever", prompt=prompt, calls=called, expected_calls=expected)
    levels = [ToolCalls(api=API, must=must).parts(row).amount for must in ("parses", "valid", "same")]
    assert levels == [parses, valid, same]
    assert ToolCalls(api=API, must="same").parts(replace(row, answer=None)) is None


def test_the_reference_of_a_row_that_calls_is_what_a_model_would_generate():
    from hafs.config import build, compose
    from hafs.evaluation.rows import _read, asked

    tokenizer = build(compose("train", ["model=tiny"]).model).tokenizer()
    question = Message(role="user", content="?", tools=(ROOM,))
    row = asked((question, Message(role="assistant", content="", calls=call(room=4))), tokenizer)
    assert row.reference == '{"name": "get_room", "arguments": {"room": 4}}'
    assert row.expected_calls == call(room=4)
    ids = tokenizer(row.reference, add_special_tokens=False)["input_ids"]
    assert _read(tokenizer, row.prompt, ids) == (row.reference, call(room=4))
    words = tokenizer('{"name": "answer_in_words", "arguments": {}}\nIn words.', add_special_tokens=False)["input_ids"]
    assert _read(tokenizer, row.prompt, words) == ("In words.", ())
    assert asked((question, Message(role="assistant", content="In words.")), tokenizer).reference == "In words."


@pytest.mark.parametrize(
    ("reference", "answer", "f1"),
    [
        ("LDA #$10 store the value", "store a value at LDA $10", 4 / 11),
        ("The same Words", "the same words!", 1.0),
        ("one two three", "three two one", 1 / 3),
        ("", "", 0.0),
        ("\u00e9", "", 0.0),
    ],
)
def test_rouge_l_counts_as_the_rouge_score_package_does(reference, answer, f1):
    """The figures are those of rouge-score 0.1.2, whose source has no wheel."""
    assert rouge_l(reference, answer) == pytest.approx(f1)
