import io
import json
import random
import re

from rich.console import Console
from tests_dataset_rows import varied

from hafs.core import records
from hafs.data import report_files, report_terminal
from hafs.data.prepare import report
from hafs.data.report import histogram, percentiles

EVIL = "<script>alert('&')</script><img src=x onerror=alert(1)>"
BOLD = "<b>bold</b>"


def printed(found, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    report_terminal.show(found, console)
    return console.file.getvalue()


def test_the_report_is_printed_within_80_columns(write, described, tokenizer, here):
    dice = random.Random(2)
    rows = [varied(dice, number) for number in range(40)]
    found = report(
        described(write([*rows, rows[0], {"instruction": "q", "output": ""}])), tokenizer, seed=1, cache=here
    )
    text = printed(found)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 80
    for part in ("42", "1 (2.4%)", "1 exact", "p95", "train", "empty_field", "rows.jsonl:42", "number 41"):
        assert part in plain
    assert "\x1b[32m" in text


def test_markup_in_rows_is_not_read_as_markup(write, described, tokenizer, here):
    found = report(
        described(write([{"prompt": "[bold]x[/nope]", "completion": "[/red]"}])), tokenizer, seed=1, cache=here
    )
    assert "[/nope]" in printed(found)


def test_the_page_is_self_contained_and_escapes_what_rows_say(write, described, tokenizer, here):
    rows = [
        {"prompt": EVIL, "completion": EVIL},
        {"prompt": EVIL, "completion": "other"},
        {"prompt": EVIL, EVIL: 1},
        b"{" + EVIL.encode(),
    ]
    found = report(described(write(rows, "a&b.jsonl"), name=EVIL), tokenizer, seed=1, cache=here / "cache")
    paths = report_files.write(found, here / "out")
    html = paths[1].read_text()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(src|href)\s*=|url\(|@import", re.sub("&lt;.*?&gt;", "", html))
    assert html.count("role=img") == 3
    assert "prefers-color-scheme:dark" in html
    assert "<mark>" in html


def test_the_page_shows_tags_in_rows_as_text(write, described, tokenizer, here):
    rows = [{"prompt": BOLD, "completion": BOLD}, {"prompt": BOLD, "completion": "other"}, {"instruction": BOLD}]
    found = report(described(write(rows), name=BOLD), tokenizer, seed=1, cache=here / "cache")
    html = report_files.write(found, here / "out")[1].read_text()
    assert "<b>" not in html
    assert html.count("&lt;b&gt;bold&lt;/b&gt;") >= 5


def test_the_json_holds_the_same_facts(write, described, tokenizer, here):
    found = report(
        described(write([varied(random.Random(1), number) for number in range(20)])), tokenizer, seed=1, cache=here
    )
    facts = records.read_record(report_files.write(found, here / "out")[0])
    assert facts == json.loads(json.dumps(found.as_dict()))
    assert facts["samples"] == 20
    assert facts["tokens"] == sum(size["tokens"] for size in facts["splits"].values())
    assert 0 < facts["supervised_share"] < 1
    assert sum(facts["histogram"]["counts"]) == 20
    assert any(flag for _, flag in facts["sample"])


def test_percentiles_are_lengths_that_occur():
    import numpy as np

    lengths = np.array([10, 20, 30, 1000], np.int32)
    assert set(percentiles(lengths).values()) <= set(lengths.tolist())
    assert percentiles(lengths)["max"] == 1000
    assert sum(histogram(lengths)["counts"]) == 4
    assert percentiles(lengths[:0]) == {}
