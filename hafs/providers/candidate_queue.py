"""The queue of candidates for one request: the chain as configured, minus exhausted quotas and providers in backoff.

A model that failed backs off; after that one request probes it (a circuit breaker, kept in the ledger).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hafs.providers.policy import Policy
from hafs.providers.provider import Provider, Tier
from hafs.providers.provider_error import Kind, ProviderError
from hafs.providers.quota import Ledger

NEVER = math.inf
FINAL: frozenset[Kind] = frozenset({"too_long", "rejected", "filtered", "unsent", "quota_exhausted", "unauthorized"})
"""Errors that the same candidate would repeat within this request."""
WHOLE_ACCOUNT: frozenset[Kind] = frozenset({"quota_exhausted", "unauthorized", "unreachable", "busy"})
"""Errors that concern the whole account, not one of its models."""
NO_BACKOFF: frozenset[Kind] = frozenset({"too_long", "rejected", "filtered", "unjoined"})
"""Errors that concern the request, not the host."""
UNAUTHORIZED_BACKOFF_SECONDS = 600.0
NO_SUCH_MODEL = 404
"""The HTTP status for a wrong model name: it says something about the config, so the model backs off."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A model of a provider that can be called."""

    provider: Provider
    tier: Tier
    model: str
    stands_in_for: str | None = None
    """The provider whose quota is exhausted and that this one replaces."""

    @cached_property
    def account(self) -> str:
        """The account whose limits apply."""
        return self.provider.host.account

    @cached_property
    def context(self) -> int:
        """Context length in tokens, prompt and answer together."""
        return self.provider.context[self.tier]


@dataclass(kw_only=True)
class CandidateQueue:
    """The candidates of one request and their state."""

    order: list[Candidate]
    policy: Policy
    ledger: Ledger
    tokens: int
    """Estimated tokens of the prompt plus the requested answer."""
    needs: frozenset[str]
    """Parameters that cannot be dropped: tools, response_format."""
    deadline: float
    """Time on the event loop's clock."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Why a provider was skipped, by its name."""
    unfit: set[str] = field(default_factory=set)
    """Why candidates do not fit the request: `no_key`, `no_package`, `too_long`, `unsupported`."""
    _calls: Counter[str] = field(default_factory=Counter)
    _tried: list[Candidate] = field(default_factory=list)
    _closed: list[Candidate] = field(default_factory=list)
    _unjoined: bool = False

    def __post_init__(self) -> None:
        self.order = [candidate for candidate in self.order if self._fits(candidate)]
        for candidate in list(self.order):
            wait, reason = self._wait(candidate)
            if wait and reason == "quota_exhausted":
                self.out_of_quota(candidate)

    def _fits(self, candidate: Candidate) -> bool:
        provider = candidate.provider
        missing = self.needs - provider.takes
        if variable := provider.host.missing_key():
            why, cause = f"no key: {variable} is not set", "no_key"
        elif package := provider.host.missing_package():
            why, cause = f"{package} is not installed", "no_package"
        elif self.tokens > candidate.context:
            why = f"its context of {candidate.context} tokens is too small for about {self.tokens}"
            cause = "too_long"
        elif missing:
            why, cause = f"does not support {', '.join(sorted(missing))}", "unsupported"
        else:
            return True
        self.passed_over.setdefault(provider.name, why)
        self.unfit.add(cause)
        return False

    def standing(self) -> tuple[list[str], float | None]:
        """The reasons why no candidate can be asked now, and the seconds until the first can be asked again."""
        waits = [self._wait(candidate) for candidate in self.order]
        causes = [reason for wait, reason in waits if wait]
        return [*sorted(self.unfit), *causes], min((wait for wait, _ in waits if wait), default=None)

    def _wait(self, candidate: Candidate) -> tuple[float, str]:
        return self.ledger.wait(candidate.account, candidate.model, candidate.provider.limits)

    def _open(self) -> list[Candidate]:
        """The candidates that this request may still call: first those not called yet, then the others again."""
        if self._calls.total() >= self.policy.calls:
            return []
        left = [
            candidate
            for candidate in self.order
            if candidate not in self._closed and self._calls[candidate.account] < self.policy.calls_per_account
        ]
        return sorted(left, key=self._tried.__contains__) if self._tried else left

    def next(self, now: float) -> tuple[Candidate | None, float]:
        """The next candidate; or None and the seconds until one is available (`NEVER`: none before the deadline)."""
        soonest = NEVER
        for candidate in self._open():
            if self._enter(candidate, self.policy.attempt_seconds):
                self._calls[candidate.account] += 1
                self._tried.append(candidate)
                return candidate, 0.0
            wait, reason = self._wait(candidate)
            self.passed_over[candidate.provider.name] = f"backs off for {wait:.0f} s: {reason.replace('_', ' ')}"
            soonest = min(soonest, wait or 0.05)
        return None, soonest if now + soonest < self.deadline else NEVER

    def _enter(self, candidate: Candidate, probe_seconds: float) -> bool:
        limits = candidate.provider.limits
        return self.ledger.enter(candidate.account, candidate.model, limits, probe_seconds=probe_seconds)

    def others(self, candidate: Candidate) -> bool:
        """Whether another candidate is available now."""
        return any(other is not candidate and not self._wait(other)[0] for other in self._open())

    def failed(self, candidate: Candidate, error: ProviderError, *, cut_short: bool = False) -> None:
        """Record an error: here for this request, in the ledger for all others.

        Args:
            candidate: The one that was called.
            error: Why the call failed.
            cut_short: The request's deadline ended the call before the policy's own timeouts.
        """
        kind, retry_after, said = error.kind, error.retry_after, error.said
        if kind in FINAL:
            self._closed.append(candidate)
        if kind == "unjoined":  # the first time counts as if the candidate had not been asked to continue
            if self._unjoined:
                self._closed.append(candidate)
            else:
                self._calls[candidate.account] -= 1
            self._unjoined = True
        if kind == "unsent" or cut_short:  # says nothing about the host
            self.ledger.leave(candidate.account, candidate.model, well=False)
            return
        of_the_request = kind in NO_BACKOFF and error.status != NO_SUCH_MODEL
        if of_the_request or (
            kind == "empty" and candidate.provider.host.local
        ):  # the model's own output, not a failure
            self.ledger.leave(candidate.account, candidate.model, well=True)
            return
        scope = None if kind in WHOLE_ACCOUNT else candidate.model
        self.ledger.back_off(
            candidate.account, scope, lambda failures: self._backoff_seconds(kind, retry_after, failures), kind, said
        )
        if kind == "quota_exhausted":
            self.out_of_quota(candidate)

    def _backoff_seconds(self, kind: Kind, retry_after: float | None, failures: int) -> float:
        if retry_after:
            return retry_after
        if kind == "quota_exhausted":
            return self.policy.quota_backoff_seconds
        if kind in ("unauthorized", "rejected"):
            return UNAUTHORIZED_BACKOFF_SECONDS
        return min(self.policy.backoff_seconds * 2 ** min(failures - 1, 30), self.policy.longest_backoff_seconds)

    def out_of_quota(self, candidate: Candidate) -> None:
        """Queue its equivalents right after it, and local models last."""
        at = self.order.index(candidate) + 1
        behind = self.order[at:]
        known = {(id(c.provider), c.model) for c in self.order[:at]}
        stand_ins = _equivalents(candidate, [c.provider for c in self.order])
        stand_ins = [c for c in stand_ins if self._fits(c) and (id(c.provider), c.model) not in known]
        behind.sort(key=lambda c: c.provider.host.local)
        self.order[at:] = [*stand_ins, *behind]


def _equivalents(candidate: Candidate, providers: Iterable[Provider]) -> list[Candidate]:
    name, tier = candidate.provider.name, candidate.tier
    found = {}
    for provider in providers:
        model = provider.equivalents.get(name, {}).get(tier)
        if model:
            found[id(provider)] = Candidate(provider=provider, tier=tier, model=model, stands_in_for=name)
    return list(found.values())


def candidates(providers: Sequence[Provider], tier: Tier) -> list[Candidate]:
    """The chain as configured; its fallback models follow, before the local models at the end."""
    first = [Candidate(provider=p, tier=tier, model=p.models[tier]) for p in providers]
    then = [Candidate(provider=p, tier="fallback", model=p.models["fallback"]) for p in providers]
    then = [c for c in then if c.model != c.provider.models[tier]]
    end = len(first)
    while end and first[end - 1].provider.host.local:
        end -= 1
    return [*first[:end], *then, *first[end:]]
