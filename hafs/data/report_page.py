"""The data report as a single HTML file without scripts or external resources, in a light and a dark theme."""

from collections.abc import Iterable, Sequence
from html import escape

from hafs.data.report import DataReport

_WIDTH, _HEIGHT, _ROW = 720, 180, 26  # SVG units
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#656d76;--page:#fff;--line:#d8dee4;--bar:#3b6fb6;--good:#1a7f37;
--goodback:#dafbe1;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#8b949e;--page:#0d1117;--line:#30363d;--bar:#6ea8fe;
--good:#7ee787;--goodback:#12261b;--bad:#ff7b72}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:760px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}
th{color:var(--dim);font-weight:normal}.n{text-align:right;font-variant-numeric:tabular-nums;
white-space:nowrap}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);padding:.8rem;border-radius:6px}
mark{background:var(--goodback);color:var(--good)}.refusal{color:var(--bad);font-weight:600}.dim{color:var(--dim)}
svg{width:100%;height:auto}svg rect{fill:var(--bar)}svg rect.back{fill:var(--line)}
svg text{fill:var(--dim);font-size:12px}
"""


def page(report: DataReport) -> str:
    """The complete page; all text from the data is escaped."""
    parts = [
        f"<h1>Data report: {escape(report.name)}</h1>",
        f"<p class=refusal>Training would refuse: {escape(report.refusal)}</p>" if report.refusal else "",
        _facts(report),
        "<h2>Splits</h2>" + _splits(report),
        "<h2>Tokens in a sample</h2>" + _lengths(report),
        "<h2>Supervised share</h2>" + _share(report),
        "<h2>Rejected rows</h2>" + _rejects(report),
        "<h2>Same prompt, other answer</h2>" + _conflicts(report) if report.conflict_examples else "",
        "<h2>One sample</h2><p class=dim>Green is what the loss counts.</p>" + _sample(report),
        "<h2>Files</h2>" + _table(("file", "XXH3-128 and bytes"), report.files.items()),
        f"<p class=dim>fingerprint {escape(report.fingerprint)}</p>",
    ]
    title = escape(f"Data report: {report.name}")
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
    return f"<!doctype html><html lang=en>{head}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"<td class=n>{value:,}</td>"
    return f"<td>{escape(str(value))}</td>"


def _table(names: tuple[str, ...], rows: Iterable[Sequence[object]]) -> str:
    """A table with right-aligned numbers and left-aligned text; headings are aligned like their column."""
    rows = list(rows)
    number = [isinstance(value, int) for value in rows[0]] if rows else [False] * len(names)
    head = "".join(f"<th{' class=n' * n}>{escape(name)}</th>" for name, n in zip(names, number, strict=False))
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _facts(report: DataReport) -> str:
    formats = ", ".join(f"{count:,} {name}" for name, count in report.formats.items())
    rows = [
        ("rows", report.rows), ("blank lines", report.blank_lines), ("rejected", sum(report.rejected.values())),
        ("formats", formats), ("unused keys", report.unused_keys() or "none"), ("samples", report.samples),
        ("exact duplicates, dropped", report.exact_duplicates),
        ("near duplicates" + (", dropped" if report.near_dropped else ", kept in one split"), report.near_duplicates),
        ("prompts with more than one answer", report.conflicts),
        ("rows longer than max_length", report.overlong.get("rows", 0)), ("tokens lost to that", report.tokens_lost),
    ]  # fmt: skip
    notes = "".join(f"<p>Note: {escape(note)}</p>" for note in [*report.notes, *report.file_problems])
    return _table(("fact", ""), rows) + notes


def _splits(report: DataReport) -> str:
    rows = [(name, size.samples, size.groups, size.tokens, size.supervised) for name, size in report.splits.items()]
    return _table(("split", "samples", "groups", "tokens", "supervised"), rows)


def _lengths(report: DataReport) -> str:
    counts, edges = report.histogram["counts"], report.histogram["edges"]
    if not counts:
        return "<p class=dim>No samples.</p>"
    step, most = _WIDTH / len(counts), max(counts)
    bars = []
    for place, count in enumerate(counts):
        tall = _HEIGHT * count / most
        box = f'x="{place * step:.1f}" y="{_HEIGHT - tall:.1f}" width="{max(1, step - 1):.1f}" height="{tall:.1f}"'
        bars.append(f"<rect {box}><title>{edges[place]} to {edges[place + 1] - 1} tokens: {count:,}</title></rect>")
    labels = f'<text x="0" y="{_HEIGHT + 16}">{edges[0]}</text>'
    labels += f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{edges[-1] - 1} tokens</text>'
    svg = _svg(_HEIGHT + 20, "".join(bars) + labels, "histogram of tokens in a sample")
    return svg + _table(tuple(report.lengths), [tuple(report.lengths.values())])


def _share(report: DataReport) -> str:
    rows = {name: (size.supervised, size.tokens) for name, size in report.splits.items() if size.tokens}
    return _bars(
        [(name, part / whole, f"{part / whole:.1%}") for name, (part, whole) in rows.items()], "supervised share"
    )


def _rejects(report: DataReport) -> str:
    if not report.rejected:
        return "<p>None.</p>"
    most = max(report.rejected.values())
    bars = _bars(
        [(name, count / most, f"{count:,}") for name, count in report.rejected.items()], "rejected rows by reason"
    )
    rows = [(reason, f"{example['file']}:{example['line']}", example["message"], example["excerpt"])
            for reason, examples in report.reject_examples.items() for example in examples]  # fmt: skip
    return bars + _table(("reason", "where", "what", "excerpt"), rows)


def _bars(rows: list[tuple[str, float, str]], title: str) -> str:
    drawn = []
    for place, (name, share, label) in enumerate(rows):
        top = place * _ROW
        drawn.append(f'<text x="0" y="{top + 16}">{escape(name)}</text>'
                     f'<rect class=back x="180" y="{top + 4}" width="440" height="16"/>'
                     f'<rect x="180" y="{top + 4}" width="{440 * share:.1f}" height="16"/>'
                     f'<text x="630" y="{top + 16}">{label}</text>')  # fmt: skip
    return _svg(_ROW * len(rows) + 4, "".join(drawn), title)


def _svg(height: int, content: str, title: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role=img aria-label="{escape(title)}">{content}</svg>'


def _conflicts(report: DataReport) -> str:
    rows = [(example["prompt"], " / ".join(example["answers"]), ", ".join(example["where"]))
            for example in report.conflict_examples]  # fmt: skip
    return _table(("prompt", "answers", "where"), rows)


def _sample(report: DataReport) -> str:
    runs = [f"<mark>{escape(text)}</mark>" if supervised else escape(text) for text, supervised in report.sample]
    return f"<pre>{''.join(runs)}</pre>"
