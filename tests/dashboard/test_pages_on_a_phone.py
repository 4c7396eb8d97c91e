"""Every page as a browser draws it at 375 and 1,400 pixels, light and dark; pictures are kept in the test's folder."""

import json
import shutil
from pathlib import Path

import pytest
from journals import whole_run

from hafs.chat import Message
from hafs.core import records
from hafs.data import report_page
from hafs.data.report import DataReport, SplitSize
from hafs.evaluation import evaluation_page
from hafs.evaluation.metrics import Said
from hafs.evaluation.outcome import Outcome, Sheet
from hafs.runs.evaluation_record import Evaluation, Figure, HeldOut, Ruling, Verdict
from hafs.runs.report import run_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
LOOK = """() => {
  const found = {wide: document.documentElement.scrollWidth, small: [], cut: [], broken: []};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, holder = node.parentElement, told = node.textContent.trim();
    if (!told || !holder.checkVisibility() || holder.closest('title, style')) continue;
    const box = holder.getBoundingClientRect();
    if (parseFloat(getComputedStyle(holder).fontSize) < 11 || holder.closest('svg')) found.small.push(told);
    if (box.right > innerWidth + 1 || box.left < -1) found.cut.push(told);
    for (const word of node.textContent.matchAll(/[^\\s-]{1,20}(?=\\s|$)/g)) {
      if (word.index && !/\\s/.test(node.textContent[word.index - 1])) continue;
      const range = document.createRange();
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) found.broken.push(word[0]);
    }
  }
  for (const table of document.querySelectorAll('.table'))
    if (table.scrollWidth > table.clientWidth + 1) found.cut.push(table.textContent.trim().slice(0, 30));
  return found;
}"""


def figure(size, unit=""):
    return Figure(base=2.0 * size, tuned=1.0 * size, difference=-size, low=-1.2 * size, high=-0.8 * size, ratio=0.5,
                  ratio_low=0.4, ratio_high=0.6, rows=64, groups=40, better="lower", unit=unit)  # fmt: skip


def evaluation():
    words = "perplexity: tuned over base is 0.2981 [0.2518, 0.3441], wanted at most 0.9 (all of the interval)"
    ruling = Ruling(
        metric="perplexity", rule="max_ratio", limit=0.9, figure=0.3, low=0.2, high=0.4, passed=True, words=words
    )
    names = {"perplexity": 12.5, "bits_per_byte": 0.91, "seconds_per_token": 0.0217, "forgetting": 0.0451}
    split = HeldOut(dataset="asm", fingerprint="c0ffee" * 6, rows=64, tokens=9000, files={"data/asm.jsonl": "ef" * 20})
    record = Evaluation(
        name="hyrule-asm-v1", base="qwen14b-nf4", adapter_sha256="ab" * 32, skipped={"assembles": "ca65 is missing"},
        metrics={name: figure(size, "seconds" * ("seconds" in name)) for name, size in names.items()},
        split=split, verdict=Verdict(passed=True, rules=(ruling,)), max_new_tokens=64, date="2026-11-25", seconds=61.0,
    )  # fmt: skip
    asked = (Message(role="user", content="Write a routine that clears the buffer at $7E0010, 64 bytes long."),)
    row = Said(prompt=asked, reference="sep #$20\nlda #$00", answer="lda #0", nats=30.0, supervised=12)
    sheets = tuple(Sheet(label=label, test=[row] * 3, general=[], tasks={}) for label in ("base", "tuned"))
    return evaluation_page.page(Outcome(record=record, ids=["a"] * 3, sheets=sheets, folder=Path()))


def data(folder):
    example = {"file": "data/rows.jsonl", "line": 12, "reason": "missing_field", "excerpt": '{"foo": "x"}',
               "message": "no field 'instruction', 'messages' or 'text', got 'foo', 'bar'"}  # fmt: skip
    conflict = {"prompt": "Clear A.", "answers": ["lda #0", "stz"], "where": ["rows.jsonl:1", "rows.jsonl:2"]}
    size = SplitSize(samples=400, groups=90, tokens=64_000, supervised=21_000)
    facts = {
        "name": "asm", "files": {"data/rows.jsonl": "ef" * 20}, "rows": 1234, "blank_lines": 3,
        "rejected": {"missing_field": 12}, "reject_examples": {"missing_field": [example]},
        "formats": {"instruction": 1000, "messages": 234}, "unused": {"difficulty": 900}, "exact_duplicates": 4,
        "near_duplicates": 7, "near_dropped": 0, "conflicts": 1,
        "conflict_examples": [conflict], "overlong": {"rows": 2, "reject": 2}, "tokens_lost": 300,
        "lengths": {"p5": 20, "p50": 160, "p99": 900, "max": 1020},
        "histogram": {"edges": [0, 100, 200, 300], "counts": [5, 9, 2]}, "sample": [("ask ", False), ("answer", True)],
        "notes": ["one group of alike rows holds 400 of 1,234"], "file_problems": [], "fingerprint": "c0ffee" * 6,
        "splits": dict.fromkeys(("train", "val", "test"), size),
    }  # fmt: skip
    found = DataReport(**facts, refusal=None, rejected_file=folder / "rejected.jsonl")
    records.write_record(folder / "data_report.json", found.as_dict())
    return report_page.page(found)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    whole_run(folder / "run", steps=64)
    (folder / "data.html").write_text(data(folder / "run"))
    (folder / "evaluation.html").write_text(evaluation())
    shutil.copy(run_page.write(folder / "run"), folder / "run.html")
    other = folder / "other"
    whole_run(other, steps=40)
    return folder


@pytest.fixture(scope="module")
def browser():
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("name", ["run", "evaluation", "data"])
def test_a_page_fits_its_screen_with_whole_words_in_readable_letters(browser, pages, name, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    try:
        page.goto(f"file://{pages}/{name}.html")
        page.screenshot(path=pages / f"{name}-{width}-{scheme}.png", full_page=True)
        found = page.evaluate(LOOK)
    finally:
        page.close()
    assert found["wide"] == width
    assert (found["small"], found["cut"], found["broken"]) == ([], [], []), json.dumps(found)


def test_few_points_are_drawn_as_points(pages):
    text = (pages / "run.html").read_text()
    drawn = {part.split("'")[0]: part.count('class="dot') for part in text.split("<figure id='")[1:]}
    assert drawn["train/lr"] == 0  # 64 points are a line
    assert 0 < sum(drawn.values()) < 40
