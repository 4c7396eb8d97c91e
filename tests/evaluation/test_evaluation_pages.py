"""The pages of an evaluation and of a council: text from data, models and configs never becomes markup."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from hafs.chat import Message
from hafs.evaluation import evaluation_page
from hafs.evaluation.council import council_page
from hafs.evaluation.council.record import Member, Trial, TrialRecord
from hafs.evaluation.figures import Alone
from hafs.evaluation.metrics import Said
from hafs.evaluation.outcome import Outcome, Sheet
from hafs.runs.evaluation_record import Evaluation, Figure, HeldOut, Ruling, Verdict

BOLD = "<b>bold</b> & 'quoted'"
ESCAPED = "&lt;b&gt;bold&lt;/b&gt; &amp; &#39;quoted&#39;"


def figure(difference=0.2):
    return Figure(base=0.5, tuned=0.5 + difference, difference=difference, low=difference - 0.1, high=difference + 0.1,
                  ratio=None, ratio_low=None, ratio_high=None, rows=7, better="higher", unit="share")  # fmt: skip


def said(answer=BOLD):
    prompt = (Message(role="system", content=BOLD), Message(role="user", content=BOLD))
    return Said(prompt=prompt, reference=BOLD, answer=answer, nats=3.0, supervised=2)


def evaluated(rows=1):
    ruling = Ruling(metric="chrf", rule="at_least", limit=0.0, figure=0.2, low=0.1, high=0.3, passed=True, words=BOLD)
    record = Evaluation(
        name=BOLD, base=BOLD, adapter_sha256="ab" * 32, metrics={BOLD: figure(), "worse": figure(-0.2)},
        split=HeldOut(dataset=BOLD, fingerprint="cd", rows=rows, tokens=9, files={BOLD: "ef"}),
        verdict=Verdict(passed=True, rules=(ruling,)), skipped={BOLD: BOLD}, max_new_tokens=8, date=BOLD, seconds=1.0,
    )  # fmt: skip
    sheets = tuple(Sheet(label=label, test=[said()] * rows, general=[], tasks={}) for label in (BOLD, "tuned"))
    return Outcome(record=record, ids=["a"] * rows, sheets=sheets, folder=Path())


def tried():
    member = Member(run=BOLD, adapter_sha256="ab", dataset=BOLD, fingerprint="cd", rows=1, routed={BOLD: 1},
                    headline={"council": 0.7, BOLD: 0.5})  # fmt: skip
    sides = {side: {"chrf": Alone(value=0.7, rows=1, unit="share")} for side in ("council", BOLD, "own expert")}
    record = TrialRecord(
        answer=BOLD, headline="chrf", best_alone=BOLD, router=BOLD, synthesizer=BOLD, providers=[BOLD],
        experts={BOLD: member}, sides=sides, against={BOLD: {"chrf": figure()}}, failed={}, skipped={BOLD: BOLD},
        max_new_tokens=8, date=BOLD, seconds=1.0,
    )  # fmt: skip
    questions = [SimpleNamespace(expert=BOLD), SimpleNamespace(expert="asm")]
    return Trial(record=record, questions=questions, sheets={side: [said(), said(None)] for side in sides},
                 routed=[(BOLD,), ()])  # fmt: skip


@pytest.mark.parametrize(
    ("page", "least"), [(lambda: evaluation_page.page(evaluated()), 12), (lambda: council_page.page(tried()), 14)]
)
def test_a_page_escapes_every_text_and_loads_nothing(page, least):
    text = page()
    assert text.startswith("<!doctype html>")
    assert "<b>" not in text
    assert text.count(ESCAPED) >= least
    assert "<script" not in text
    assert not re.search(r"(src|href)\s*=|url\(|@import", text)
    assert text.count("<section") == text.count("</section>") >= 5


def test_better_and_worse_are_drawn_on_their_own_side_of_the_middle():
    text = evaluation_page.page(evaluated())
    lines = re.findall(r'class="track (better|worse)"><i style="left:([\d.]+)%;width:([\d.]+)%', text)
    assert [kind for kind, *_ in lines] == ["better", "worse"]
    (_, better, _), (_, worse, width) = lines
    assert float(better) > 50 > float(worse) + float(width)
    assert re.findall(r"class=end>([^<]+)<", text) == ["-30.0", "+30.0", "-30.0", "+30.0"]  # each says its scale


def test_the_page_shows_the_first_rows_and_counts_the_others(monkeypatch):
    monkeypatch.setattr(evaluation_page, "SHOWN", 2)
    text = evaluation_page.page(evaluated(rows=1500))
    assert text.count("<details>") == 2
    assert "1,498 more are in evaluation_rows.jsonl" in text
