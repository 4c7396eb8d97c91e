"""Prints a routing to standard output, and a receipt to standard error."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hafs.council.router import Routing

if TYPE_CHECKING:
    from hafs.council.chat_model import Council


def show_routing(council: "Council", routing: Routing) -> None:
    """Print the scores of all experts, and which models would be asked."""
    table = Table("expert", "score", "confident from", "adapter", "asked, in this order", box=None)
    for name, score in sorted(routing.scores.items(), key=lambda pair: -pair[1]):
        expert = council.expert(name)
        mark = "* " if name in routing.picked else "  "
        chain = ", ".join(f"{provider.name} ({provider.models[expert.tier]})" for provider in council.providers)
        table.add_row(mark + name, f"{score:.2f}", f"{expert.threshold:.2f}", expert.adapter or "-", chain)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\ndecided by {routing.decided_by} in {routing.seconds * 1000:.1f} ms; {_plan(council, routing)}")
    for note in routing.notes:
        console.print(f"  {note}", markup=False)


def _plan(council: "Council", routing: Routing) -> str:
    if len(routing.picked) == 1:
        return f"{routing.picked[0]} answers alone"
    merged = f"synthesizer {council.synthesizer.name} merges"
    return f"{', '.join(routing.picked)} answer at the same time, {merged}"


def show_receipt(receipt: dict[str, Any]) -> None:
    """Print who answered, tokens, cost and time."""
    console = Console(stderr=True, highlight=False, markup=False)
    routing = receipt.get("routing") or {}
    scores = ", ".join(f"{name} {score:.2f}" for name, score in routing.get("scores", {}).items())
    console.print(f"\n-- routed by {routing.get('decided_by')}: {scores}", style="dim", soft_wrap=True)
    for part in [*receipt.get("experts", []), *filter(None, [receipt.get("synthesizer")])]:
        console.print(f"-- {part['name']}: {_calls(part)}, {part['seconds']:.2f} s", style="dim", soft_wrap=True)
    if len(receipt.get("experts", [])) > 1:
        console.print(timeline(receipt), style="dim", soft_wrap=True)
    console.print(f"-- {totals(receipt)}", style="dim", soft_wrap=True)


BAR_WIDTH = 40


def timeline(receipt: dict[str, Any]) -> str:
    """Router, experts side by side, and synthesizer as bars over time, one line each."""
    routed = (receipt.get("routing") or {}).get("seconds", 0.0)
    experts = receipt.get("experts", [])
    parts = [("router", 0.0, routed), *((part["name"], routed, part["seconds"]) for part in experts)]
    if receipt.get("synthesizer"):
        slowest = max((part["seconds"] for part in experts), default=0.0)
        parts.append(("synthesizer", routed + slowest, receipt["synthesizer"]["seconds"]))
    total = max(receipt["seconds"], *(start + took for _, start, took in parts)) or 1.0
    width = max(len(name) for name, _, _ in parts)
    lines = []
    for name, start, took in parts:
        left = round(BAR_WIDTH * start / total)
        size = max(1, round(BAR_WIDTH * (start + took) / total) - left)
        lines.append(f"{name:<{width}} {' ' * left + '█' * size:<{BAR_WIDTH + 1}} {took:.2f} s")
    return "\n".join(lines)


def _calls(part: dict[str, Any]) -> str:
    said = [
        f"{a['provider']} {a['model']}{_with(a.get('adapter'))}{_without(a.get('without_adapter'))}{_queued(a)}"
        for a in part["attempts"]
        if a["outcome"] == "answered"
    ]
    refused = [
        f"{a['provider']}: {a['outcome'].replace('_', ' ')}" for a in part["attempts"] if a["outcome"] != "answered"
    ]
    return "; ".join([*said, *refused]) or part["outcome"]


def _with(adapter: str | None) -> str:
    """The adapter's name: that of the registered model, or that of the run."""
    if adapter is None:
        return ""
    folder = Path(adapter)
    return f" with {folder.parent.name if folder.name == 'adapter' else folder.name}"


def _without(adapter: str | None) -> str:
    return f" WITHOUT {adapter}, which this server does not serve" if adapter else ""


def _queued(attempt: dict[str, Any]) -> str:
    waited = attempt.get("queued_seconds", 0.0)
    return f" after {waited:.1f} s in the queue" if waited >= 0.05 else ""


def totals(receipt: dict[str, Any]) -> str:
    """Tokens, cost and time in one line."""
    cost = receipt["cost"] if isinstance(receipt["cost"], str) else f"${receipt['cost']:.4f}"
    tokens = f"{receipt['input_tokens']} tokens in, {receipt['output_tokens']} out"
    where = f"; {receipt['file']}" if "file" in receipt else ""
    return f"{tokens}, cost {cost}, {receipt['seconds']:.2f} s{where}"
