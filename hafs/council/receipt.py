"""The receipt of an answer: scores, who answered, calls, tokens, time, cost; no text of the conversation."""

import json
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hafs.core import durable
from hafs.council.router import Routing

BILLED = ("answered", "cut", "unjoined", "timeout")
"""Outcomes of calls that a host may charge for: the model had begun to answer."""


@dataclass(kw_only=True)
class Part:
    """The part of an expert or of the synthesizer in an answer."""

    name: str
    score: float | None = None
    outcome: str = "answered"
    """`answered`, or the reason for the failure in one line."""
    seconds: float = 0.0
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    """The calls to providers."""

    def facts(self) -> dict[str, Any]:
        """The part as plain values."""
        facts: dict[str, Any] = {"name": self.name, "outcome": self.outcome, "seconds": round(self.seconds, 4)}
        if self.score is not None:
            facts["score"] = round(self.score, 4)
        return facts | {"attempts": list(self.attempts)}


@dataclass(kw_only=True)
class Receipt:
    """It is filled while the request is answered."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    began: float = field(default_factory=time.perf_counter)
    routing: Routing | None = None
    experts: list[Part] = field(default_factory=list)
    synthesizer: Part | None = None
    finish_reason: str = "stop"
    ended: str = "complete"
    """Or `continued` by another provider after the stream broke; or `restarted`, where the reader was told so."""

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
            "cost": total(attempts, "cost", of=BILLED),
        }

    def write(self, folder: Path | None) -> dict[str, Any]:
        """The facts, which are also written to `folder` as JSON; the answer does not depend on that."""
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


def total(
    attempts: Iterable[Mapping[str, Any]], key: str, of: Collection[str] = ("answered",)
) -> float | int | Literal["unknown"]:
    """The sum over the calls that ended in one of the outcomes `of`; `unknown` if one is unknown, or there are none."""
    values = [attempt.get(key) for attempt in attempts if attempt.get("outcome") in of]
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) if values and len(numbers) == len(values) else "unknown"
