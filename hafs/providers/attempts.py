"""The attempts of one request: provider, outcome, time, tokens and cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hafs.providers.candidate_queue import Candidate
from hafs.providers.provider_error import ProviderError
from hafs.providers.queue_wait import QueueWait
from hafs.providers.served_adapters import SERVED


@dataclass(kw_only=True)
class Attempt:
    """One call to one provider."""

    candidate: Candidate
    began: float
    """Time on the event loop's clock."""
    outcome: str = "answered"
    """`answered`, or the kind of `ProviderError`."""
    said: str = ""
    status: int | None = None
    """The HTTP status of an error, if there was one."""
    seconds: float = 0.0
    first_token_seconds: float | None = None
    """Time to first token of a stream, from when the host could work on it."""
    wait: QueueWait = field(default_factory=QueueWait, repr=False)
    """Its time in a queue of hafs, before a host of this machine."""
    queued_seconds: float = 0.0
    """The length of that wait when the call ended."""
    tokens: tuple[int, int] | None = None
    """Input and output tokens; None: the host did not report them."""
    cost: float | Literal["unknown"] = "unknown"
    """In US dollars."""
    adapter: str | None = None
    """The LoRA adapter of the call."""
    without_adapter: str | None = None
    """The adapter that the host does not serve; its base model answered instead."""
    left_out: tuple[str, ...] = ()
    """Parameters that this provider does not accept."""
    alive: bool = False
    """Whether anything arrived, reasoning included."""
    settled: bool = False
    """Whether the ledger has recorded the answer."""

    @property
    def queue(self) -> QueueWait | None:
        """Its wait, if the host is in this process and so has a queue of hafs."""
        return self.wait if self.candidate.provider.host.in_process else None

    def facts(self) -> dict[str, Any]:
        """The call as an entry of the receipt."""
        facts: dict[str, Any] = {
            "provider": self.candidate.provider.name,
            "model": self.candidate.model,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 4),
            "input_tokens": self.tokens[0] if self.tokens else "unknown",
            "output_tokens": self.tokens[1] if self.tokens else "unknown",
            "cost": self.cost,
        }
        if self.first_token_seconds is not None:
            facts["first_token_seconds"] = round(self.first_token_seconds, 4)
        if self.queued_seconds:
            facts["queued_seconds"] = round(self.queued_seconds, 4)
        if self.said:
            facts["said"] = self.said
        if self.status:
            facts["status"] = self.status
        if self.candidate.stands_in_for:
            facts["stands_in_for"] = self.candidate.stands_in_for
        if self.adapter:
            facts["adapter"] = self.adapter
        if self.without_adapter:
            facts["without_adapter"] = self.without_adapter
        if self.left_out:
            facts["left_out"] = list(self.left_out)
        return facts

    def taken(self, now: float) -> float:
        """Seconds that the host has had so far, without the wait in a queue of hafs."""
        return now - self.began - self.wait.seconds

    def ended(self, now: float, error: ProviderError | None = None) -> None:
        """Record how the call ended."""
        self.seconds, self.queued_seconds = now - self.began, self.wait.seconds
        if error is not None:
            self.outcome, self.said, self.status = error.kind, error.said, error.status
            price = self.candidate.provider.price
            if price is not None and not any(price[self.candidate.tier]):
                self.cost = 0.0

    def served(self, info: Mapping[str, Any]) -> None:
        """Record the name under which the host served the adapter, if it is in an answer's metadata."""
        if SERVED in info:
            if info[SERVED] is None:
                self.without_adapter = self.adapter
            self.adapter = info[SERVED]

    def count(self, usage: Mapping[str, Any] | None, host_cost: object = None) -> None:
        """Record tokens and cost."""
        if usage:
            self.tokens = (int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0))
        price = self.candidate.provider.price
        if isinstance(host_cost, int | float):
            self.cost = float(host_cost)
        elif price is not None and not any(price[self.candidate.tier]):
            self.cost = 0.0
        elif price is not None and self.tokens and self.candidate.stands_in_for is None:
            self.cost = sum(
                t * dollars / 1e6 for t, dollars in zip(self.tokens, price[self.candidate.tier], strict=True)
            )


def table(attempts: Iterable[Attempt], passed_over: Mapping[str, str]) -> str:
    """A table of the attempts and of the providers that were skipped, one line each."""
    rows = [(f"{a.candidate.provider.name} ({a.candidate.model})", _outcome(a), f"{a.seconds:.1f} s") for a in attempts]
    asked = {a.candidate.provider.name for a in attempts}
    rows += [(name, why, "not asked") for name, why in passed_over.items() if name not in asked]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 2)]
    return "\n".join(f"  {who:<{widths[0]}}  {took:>{widths[1]}}  {what}" for who, what, took in rows)


def _outcome(attempt: Attempt) -> str:
    return f"{attempt.outcome.replace('_', ' ')}: {attempt.said}" if attempt.said else attempt.outcome.replace("_", " ")
