"""What one prompt says, however often: no significance in figures, in words, or in the model card."""

import json
from dataclasses import replace

import pytest

from hafs.chat import Message
from hafs.config import build, compose
from hafs.data.prepare import report
from hafs.evaluation.evaluation_terminal import interval, judged
from hafs.evaluation.figures import figures
from hafs.evaluation.metrics import Said
from hafs.evaluation.metrics.perplexity import Perplexity
from hafs.evaluation.metrics.seconds_per_token import SecondsPerToken
from hafs.registry.model_card import _interval
from hafs.registry.record import MetricRecord


def said(count, prompt, **more):
    """Rows with a loss of their own each."""
    return [
        Said(
            prompt=(Message(role="user", content=prompt(i)),), reference="x", answer="y", nats=10.0 + i % 3,
            supervised=10, tokens=5, seconds=0.1, **more,
        )
        for i in range(count)
    ]  # fmt: skip


def better(rows):
    return [replace(row, nats=row.nats / 2, seconds=row.seconds / 2) for row in rows]


METRICS = {"perplexity": Perplexity(), "seconds_a_token": SecondsPerToken()}
CASES = {
    "66 rows of one prompt": (
        said(66, lambda i: "  how  do I wait\nfor vblank?" if i % 2 else "how do I wait for vblank?"),
        1,
    ),
    "five rows": (said(5, str), 5),
    "66 rows of one family": (said(66, str, group="a family"), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_significant_about(case):
    rows, groups = CASES[case]
    found, _ = figures(METRICS, rows, better(rows), draws=200, seed=0)
    figure = found["perplexity"]
    assert (figure.rows, figure.groups) == (len(rows), groups)
    assert figure.low is figure.ratio_low is None
    assert figure.unsure.startswith("too few to say: ")
    assert (judged(figure), interval(figure)) == ("", "too few to say")
    record = MetricRecord(base=figure.base, tuned=figure.tuned, difference=figure.difference, unsure=figure.unsure)
    assert _interval(record) == figure.unsure


def test_forty_prompts_are_significant_and_their_one_timing_is_not():
    rows = said(40, str)
    found, _ = figures(METRICS, rows, better(rows), draws=200, seed=0)
    assert judged(found["perplexity"]) == "better" and not found["perplexity"].unsure
    timed = found["seconds_a_token"]
    assert timed.low is timed.ratio_low is None
    assert (judged(timed), interval(timed)) == ("", "measured once")


def test_validate_says_when_few_prompts_carry_many_rows(here):
    rows = [{"instruction": f"question {i % 8} {'abcdefgh'[i % 8] * 30}", "output": f"answer {i}"} for i in range(160)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = compose(
        "validate", ["model=tiny", "dataset=jsonl", "dataset.path=rows.jsonl", "dataset.test_fraction=0.3"]
    )
    found = report(build(config.dataset), build(config.model).tokenizer(), seed=0, cache=here / "cache")
    assert found.splits["test"].groups < 5
    notes = "\n".join(found.notes)
    assert "an evaluation on the test split would find too few to say" in notes
    assert "160 samples share 8 prompts" in notes
