"""An evaluation as one HTML file that needs nothing else: no script, no external resource, light and dark."""

from collections.abc import Mapping, Sequence
from html import escape

from hafs.evaluation.evaluation_terminal import conclusion, interval, judged, number, signed
from hafs.evaluation.metrics import Said
from hafs.evaluation.outcome import Outcome
from hafs.runs.evaluation_record import Evaluation, Figure

_WIDTH, _ROW, _LEFT = 760, 26, 250  # SVG units
SHOWN = 200  # rows whose answers are on the page; all are in evaluation_rows.jsonl
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#656d76;--page:#fff;--line:#d8dee4;--bar:#57606a;--good:#1a7f37;
--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#8b949e;--page:#0d1117;--line:#30363d;--bar:#8b949e;
--good:#7ee787;--bad:#ff7b72}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:960px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:normal}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);padding:.6rem;border-radius:6px;margin:0}
.better{color:var(--good)}.worse{color:var(--bad)}.dim{color:var(--dim)}.verdict{font-weight:600}
details{border-bottom:1px solid var(--line);padding:.3rem 0}summary{cursor:pointer;overflow-wrap:anywhere}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:.8rem;margin:.6rem 0}
.wide{overflow-x:auto}svg{width:100%;min-width:560px;height:auto}
svg text{fill:var(--dim);font-size:12px}svg line{stroke:var(--line)}
svg .better{stroke:var(--good);fill:var(--good)}svg .worse{stroke:var(--bad);fill:var(--bad)}
svg .open{stroke:var(--bar);fill:var(--bar)}
"""


def page(outcome: Outcome) -> str:
    """The whole page; every text that comes from data, models or configs is escaped."""
    record = outcome.record
    against = " against ".join(sheet.label for sheet in reversed(outcome.sheets))
    return document(
        f"Evaluation: {record.name}",
        f"<p class='verdict {'better' if record.verdict.passed else 'worse'}'>{escape(conclusion(outcome))}</p>",
        _rules(record),
        f"<h2>Figures, {escape(against)}</h2>" + _figures(outcome),
        "<h2>Differences with 95 % intervals</h2>" + forest(record.metrics),
        "<p class=dim>Each line is scaled by itself; right of the middle is better. Intervals: paired bootstrap "
        "over the rows.</p>",
        _skipped(record),
        f"<h2>Rows, with the loss of their own answers (nats a token)</h2>{_rows(outcome)}",
        _facts(record),
    )


def document(title: str, *parts: str) -> str:
    """A page of parts that are HTML already; the title is not."""
    told = escape(title)
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{told}</title>"
    body = f"<h1>{told}</h1>{''.join(parts)}"
    return f"<!doctype html><html lang=en>{head}<style>{_STYLE}</style><body>{body}</body></html>\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 99) -> str:
    """A table of cells that are HTML already; from one column on they are numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        shown = (f"<{tag}{' class=n' if i >= numbers_from else ''}>{text}</{tag}>" for i, text in enumerate(cells))
        return f"<tr>{''.join(shown)}</tr>"

    inside = f"{line('th', head) if head else ''}{''.join(line('td', cells) for cells in rows)}"
    return f"<div class=wide><table>{inside}</table></div>"


def _rules(record: Evaluation) -> str:
    if not record.verdict.rules:
        return ""
    rows = "".join(
        f"<tr><td class={'better' if ruling.passed else 'worse'}>{'holds' if ruling.passed else 'does not hold'}</td>"
        f"<td>{escape(ruling.words)}</td></tr>"
        for ruling in record.verdict.rules
    )
    return f"<h2>The gate</h2><table>{rows}</table>"


def _figures(outcome: Outcome) -> str:
    left, right = (escape(sheet.label) for sheet in outcome.sheets)
    head = "".join(f"<th class=n>{name}</th>" for name in (left, right, "difference", "95 % interval", "rows"))
    body = "".join(_figure(name, figure) for name, figure in outcome.record.metrics.items())
    return f"<div class=wide><table><tr><th>metric</th>{head}</tr>{body}</table></div>"


def _figure(name: str, figure: Figure) -> str:
    unit = f" <span class=dim>{escape(figure.unit)}</span>" if figure.unit not in ("", "share") else ""
    cells = [number(value, figure.unit) for value in (figure.base, figure.tuned)]
    cells += [signed(figure.difference, figure.unit), interval(figure), str(figure.rows)]
    shown = "".join(f"<td class='n {judged(figure)}'>{cell}</td>" for cell in cells)
    return f"<tr><td>{escape(name)}{unit}</td>{shown}</tr>"


def forest(figures: Mapping[str, Figure], *, one_scale: bool = False) -> str:
    """A line for each interval, drawn so that better is to the right, with 0 in the middle.

    Args:
        figures: By name; those without an interval or a good direction are left out.
        one_scale: They are of one metric, so one scale serves all.
    """
    drawn = {name: f for name, f in figures.items() if f.low is not None and f.better != "neither"}
    widest = max(map(_reach, drawn.values()), default=1.0)
    lines = [
        _interval(name, figure, place * _ROW + 14, widest if one_scale else _reach(figure))
        for place, (name, figure) in enumerate(drawn.items())
    ]
    box = f"0 0 {_WIDTH} {len(lines) * _ROW + 4}"
    drawing = f'<svg viewBox="{box}" role=img aria-label="differences">{"".join(lines)}</svg>'
    return f"<div class=wide>{drawing}</div>"


def _reach(figure: Figure) -> float:
    return max(abs(figure.low or 0.0), abs(figure.high or 0.0), abs(figure.difference)) or 1.0


def _interval(name: str, figure: Figure, top: int, reach: float) -> str:
    sign, kind = (1 if figure.better == "higher" else -1), judged(figure) or "open"
    middle, scale = (_LEFT + _WIDTH) / 2, (_WIDTH - _LEFT) / 2 / reach * 0.95
    low, high, at = (middle + sign * scale * (x or 0.0) for x in (figure.low, figure.high, figure.difference))
    return (
        f'<text x="0" y="{top + 4}">{escape(name)}</text>'
        f'<line x1="{middle}" x2="{middle}" y1="{top - 13}" y2="{top + 13}"/>'
        f'<line class={kind} stroke-width="3" x1="{low:.1f}" x2="{high:.1f}" y1="{top}" y2="{top}"/>'
        f'<circle class={kind} cx="{at:.1f}" cy="{top}" r="5"/>'
    )


def _skipped(record: Evaluation) -> str:
    return "".join(f"<p>Not measured: {escape(name)}: {escape(why)}</p>" for name, why in record.skipped.items())


def _rows(outcome: Outcome) -> str:
    left, right = outcome.sheets
    pairs = list(zip(left.test, right.test, strict=True))
    shown = "".join(row([(left.label, a), (right.label, b)]) for a, b in pairs[:SHOWN])
    more = len(pairs) - SHOWN
    return shown + (f"<p class=dim>{more:,} more are in evaluation_rows.jsonl.</p>" if more > 0 else "")


def row(sides: Sequence[tuple[str, Said]], note: str = "") -> str:
    """One row, folded up: its prompt, its own answer, and what each side said."""
    first = sides[0][1]
    losses = [(name, s.nats / s.supervised) for name, s in sides if s.nats is not None and s.supervised]
    told = note or ", ".join(f"{name} {loss:.2f}" for name, loss in losses)
    asked = "\n\n".join(f"{message.role}: {message.content}" for message in first.prompt)
    texts = [("prompt", asked), ("the row's own", first.reference)] + [(name, _answer(said)) for name, said in sides]
    cells = "".join(f"<div><p class=dim>{escape(name)}</p><pre>{escape(text)}</pre></div>" for name, text in texts)
    short = " ".join(first.prompt[-1].content.split())[:140]
    summary = f"{escape(short)} <span class=dim>{escape(told)}</span>"
    return f"<details><summary>{summary}</summary><div class=side>{cells}</div></details>"


def _answer(said: Said) -> str:
    if said.answer is None:
        return "(not asked)"
    return said.answer if said.ended else f"{said.answer} ... (cut at the limit)"


def _facts(record: Evaluation) -> str:
    rows = {
        "dataset": record.split.dataset,
        "data fingerprint": record.split.fingerprint,
        "test rows": f"{record.split.rows:,}, {record.split.tokens:,} supervised tokens",
        "against": record.base,
        "adapter SHA-256": record.adapter_sha256,
        "longest answer": f"{record.max_new_tokens} tokens",
        "measured": f"{record.date}, {record.seconds:.0f} s",
    } | {f"file {path}": digest for path, digest in record.split.files.items()}
    cells = [[escape(name), escape(value)] for name, value in rows.items()]
    return "<h2>What was measured on what</h2>" + table([], cells)
