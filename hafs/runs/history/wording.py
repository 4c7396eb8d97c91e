"""Formats events, numbers and times for display."""

import math
import time
from collections.abc import Mapping
from typing import Any

from hafs.core.errors import INTERRUPTED

_LEFT_OUT = ("time", "event", "total", "samples")
_TROUBLE = {"skipped", "out_of_memory", "rollback"}
_TROUBLE |= {"save_failed", "report_failed", "logging_refused", "stage_damaged", "checkpoint_damaged"}
_SAY = {
    "started": lambda e: f"process {e.get('pid')} on {e.get('host')} started",
    "stage_started": lambda e: f"{e.get('stage')} started",
    "stage_finished": lambda e: (
        f"{e.get('stage')}: held-out loss {number(e.get('loss'))}"
        + (f" (epoch {e.get('epoch')} of {e.get('epochs')})" if e.get("epoch") else "")
        + ("" if e.get("kept", True) else ", not used")
    ),
    "saved": lambda e: f"saved {e.get('checkpoint')}",
    "save_failed": lambda e: f"no checkpoint: {e.get('why')}",
    "resumed": lambda e: f"continued from {e.get('checkpoint')}",
    "skipped": lambda e: f"step skipped: {e.get('why')}",
    "out_of_memory": lambda e: f"out of memory, retried with sequences of {_sequence_tokens(e)} tokens",
    "micro_batch": lambda e: f"sequences of {_sequence_tokens(e)} tokens fit in memory",
    "rehearsed": lambda e: f"rehearsed the longest batch: {e.get('tokens')} tokens, {duration(e.get('seconds'))}",
    "rollback": lambda e: (
        f"rollback from step {e.get('total'):,} to {e.get('to'):,}, learning rate x {number(e.get('rate'))}: "
        f"{e.get('why')}"
    ),
    "data_changed": lambda e: f"the data has changed: it was {e.get('before')}, now it is {e.get('now')}",
    "logging_refused": lambda e: f"{e.get('logger')} cannot write: {e.get('why')}",
    "checkpoint_damaged": lambda e: f"{e.get('checkpoint')} is damaged, the previous one is used: {e.get('why')}",
    "stage_damaged": lambda e: f"{e.get('stage')} is damaged and is repeated: {e.get('why')}",
    "paused": lambda _: "paused",
    "resumed_from_pause": lambda e: f"resumed after a pause of {duration(e.get('seconds'))}",
    "interrupted": lambda e: f"stopped by {e.get('signal') or 'another process'}, saved",
    "early_stopping": lambda e: f"early stopping: not better than {number(e.get('best'))}",
    "finished": lambda e: f"finished: held-out loss {number(e.get('loss'))} after {e.get('best_stage')}",
    "ended": lambda e: f"ended: {e.get('error')}",
}


def _sequence_tokens(event: Mapping[str, Any]) -> Any:
    """Tokens of a packed sequence; 0.1 wrote them under another name."""
    return event.get("micro_batch_tokens", event.get("row_tokens"))


def is_trouble(event: Mapping[str, Any]) -> bool:
    """Whether an event deserves a warning colour."""
    kind = event.get("event")
    return kind in _TROUBLE or (kind == "ended" and event.get("exit_code") != INTERRUPTED)


def said(event: Mapping[str, Any]) -> str:
    """An event as one line; unknown kinds are shown with their facts."""
    kind = str(event.get("event"))
    if kind in _SAY:
        return _SAY[kind](event)
    facts = ", ".join(f"{key} {_short(value)}" for key, value in event.items() if key not in _LEFT_OUT)
    return f"{kind.replace('_', ' ')}: {facts}" if facts else kind.replace("_", " ")


def _short(value: Any) -> str:
    text = number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def clock(when: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(when))


def number(value: float | None, digits: int = 4) -> str:
    """A value; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2g}" if abs(value) < 1 else f"{value:,.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def size(count: float | None) -> str:
    """Bytes in GB."""
    return "-" if count is None or not math.isfinite(count) else f"{count / 1e9:.1f} GB"
