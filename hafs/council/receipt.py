"""The receipt of an answer: who was considered, who answered, what it took. No word of what was asked or said."""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hafs.core import durable
from hafs.council.router import Routing


@dataclass(kw_only=True)
class Part:
    """One model's part in an answer: an expert's, or the synthesizer's."""

    name: str
    score: float | None = None
    outcome: str = "answered"
    """`answered`, or why not, in one line."""
    seconds: float = 0.0
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    """The calls that were made for it, as the provider tells them."""

    def facts(self) -> dict[str, Any]:
        """Its lines of the receipt."""
        facts: dict[str, Any] = {"name": self.name, "outcome": self.outcome, "seconds": round(self.seconds, 4)}
        if self.score is not None:
            facts["score"] = round(self.score, 4)
        return facts | {"attempts": list(self.attempts)}


@dataclass(kw_only=True)
class Receipt:
    """Filled while an answer is made."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    began: float = field(default_factory=time.perf_counter)
    routing: Routing | None = None
    experts: list[Part] = field(default_factory=list)
    synthesizer: Part | None = None
    finish_reason: str = "stop"
    ended: str = "complete"
    """Or `continued`, by another provider after it broke off; or `restarted`, begun anew for the reader to see."""

    def facts(self) -> dict[str, Any]:
        """The receipt as plain values."""
        parts = [*self.experts, *([self.synthesizer] if self.synthesizer else [])]
        attempts = [attempt for part in parts for attempt in part.attempts]
        return {
            "id": self.id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(time.perf_counter() - self.began, 4),
            "routing": self.routing.facts() if self.routing else None,
            "experts": [part.facts() for part in self.experts],
            "synthesizer": self.synthesizer.facts() if self.synthesizer else None,
            "ended": self.ended,
            "calls": len(attempts),
            "input_tokens": total(attempts, "input_tokens"),
            "output_tokens": total(attempts, "output_tokens"),
            "cost": total(attempts, "cost"),
        }

    def write(self, folder: Path | None) -> dict[str, Any]:
        """The facts, written to `folder` as JSON; a folder that refuses costs nobody an answer."""
        facts = self.facts()
        if folder is not None:
            name = f"{facts['time'].replace('-', '').replace(':', '')}-{self.id}.json"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                durable.write_text(folder / name, json.dumps(facts, indent=1), sync=False)
                facts = facts | {"file": str(folder / name)}
            except OSError as error:
                facts = facts | {"file": f"not written: {error.strerror}"}
        return facts


def total(attempts: Iterable[Mapping[str, Any]], key: str) -> float | int | Literal["unknown"]:
    """The sum of what answered calls took; unknown where one of them is, or none answered."""
    values = [attempt.get(key) for attempt in attempts if attempt.get("outcome") == "answered"]
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) if values and len(numbers) == len(values) else "unknown"
