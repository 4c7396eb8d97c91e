"""Who is asked next: the chain as written, what their quotas and rests allow, and how much one request may try."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hafs.providers.policy import Policy
from hafs.providers.provider import Provider, Tier
from hafs.providers.provider_error import Kind, Refused
from hafs.providers.quota import Ledger

NEVER = math.inf
FINAL: frozenset[Kind] = frozenset({"too_long", "rejected", "filtered", "unsent", "quota_exhausted", "unauthorized"})
"""Refusals that the same candidate would only repeat within one request."""
WHOLE_ACCOUNT: frozenset[Kind] = frozenset({"quota_exhausted", "unauthorized", "unreachable", "busy"})
"""Refusals that say something about the account, not about one of its models."""
NO_REST: frozenset[Kind] = frozenset({"too_long", "rejected", "filtered", "unjoined"})
"""Refusals that say something about the request, not about the host."""
UNAUTHORIZED_REST_SECONDS = 600.0
NO_SUCH_MODEL = 404
"""The HTTP status for a wrong model name: it says something about the config, so the model backs off."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One model that may be asked."""

    provider: Provider
    tier: Tier
    model: str
    stands_in_for: str | None = None
    """The provider whose quota ended, where this is its equivalent."""

    @cached_property
    def account(self) -> str:
        """Whose limits a call counts against."""
        return self.provider.host.account

    @cached_property
    def context(self) -> int:
        """Tokens of prompt and answer."""
        return self.provider.context[self.tier]


@dataclass(kw_only=True)
class Plan:
    """The candidates of one request, and what became of them."""

    order: list[Candidate]
    policy: Policy
    ledger: Ledger
    tokens: int
    """Estimate of the prompt, and the answer asked for."""
    needs: frozenset[str]
    """Parameters that cannot be left out: tools, response_format."""
    deadline: float
    """On the loop's clock."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Why a candidate was not asked, by provider."""
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
            why, cause = f"takes no {', '.join(sorted(missing))}", "unsupported"
        else:
            return True
        self.passed_over.setdefault(provider.name, why)
        self.unfit.add(cause)
        return False

    def standing(self) -> tuple[list[str], float | None]:
        """Why nobody can be asked now: the causes, and the seconds until the first of them can be asked again."""
        waits = [self._wait(candidate) for candidate in self.order]
        causes = [reason for wait, reason in waits if wait]
        return [*sorted(self.unfit), *causes], min((wait for wait, _ in waits if wait), default=None)

    def _wait(self, candidate: Candidate) -> tuple[float, str]:
        return self.ledger.wait(candidate.account, candidate.model, candidate.provider.limits)

    def _open(self) -> list[Candidate]:
        """Who could still be asked within this request: first those who were not, then the others once more."""
        if self._calls.total() >= self.policy.calls:
            return []
        left = [
            candidate
            for candidate in self.order
            if candidate not in self._closed and self._calls[candidate.account] < self.policy.calls_per_account
        ]
        return sorted(left, key=self._tried.__contains__) if self._tried else left

    def next(self, now: float) -> tuple[Candidate | None, float]:
        """Who is asked now; or nobody, and the seconds until somebody may be (`NEVER`: nobody will in time)."""
        soonest = NEVER
        for candidate in self._open():
            if self._enter(candidate, self.policy.attempt_seconds):
                self._calls[candidate.account] += 1
                self._tried.append(candidate)
                return candidate, 0.0
            wait, reason = self._wait(candidate)
            self.passed_over[candidate.provider.name] = f"rests for {wait:.0f} s: {reason.replace('_', ' ')}"
            soonest = min(soonest, wait or 0.05)
        return None, soonest if now + soonest < self.deadline else NEVER

    def _enter(self, candidate: Candidate, probe_seconds: float) -> bool:
        limits = candidate.provider.limits
        return self.ledger.enter(candidate.account, candidate.model, limits, probe_seconds=probe_seconds)

    def others(self, candidate: Candidate) -> bool:
        """Whether somebody else could be asked right now."""
        return any(other is not candidate and not self._wait(other)[0] for other in self._open())

    def refused(self, candidate: Candidate, refusal: Refused, *, in_our_haste: bool = False) -> None:
        """Remember a refusal: for this request here, for all others in the ledger.

        Args:
            candidate: Who was asked.
            refusal: How it ended.
            in_our_haste: It was given less time than the policy gives anybody.
        """
        kind, retry_after, said = refusal.kind, refusal.retry_after, refusal.said
        if kind in FINAL:
            self._closed.append(candidate)
        if kind == "unjoined":  # once in a request it is as if the candidate had not been asked to go on
            if self._unjoined:
                self._closed.append(candidate)
            else:
                self._calls[candidate.account] -= 1
            self._unjoined = True
        if kind == "unsent" or in_our_haste:  # nothing about the host
            self.ledger.leave(candidate.account, candidate.model, well=False)
            return
        of_the_request = kind in NO_REST and refusal.status != NO_SUCH_MODEL
        if of_the_request or (kind == "empty" and candidate.provider.host.local):  # a model's own word, no trouble
            self.ledger.leave(candidate.account, candidate.model, well=True)
            return
        scope = None if kind in WHOLE_ACCOUNT else candidate.model
        self.ledger.rest(candidate.account, scope, lambda failures: self._rest(kind, retry_after, failures), kind, said)
        if kind == "quota_exhausted":
            self.out_of_quota(candidate)

    def _rest(self, kind: Kind, retry_after: float | None, failures: int) -> float:
        if retry_after:
            return retry_after
        if kind == "quota_exhausted":
            return self.policy.quota_rest_seconds
        if kind in ("unauthorized", "rejected"):
            return UNAUTHORIZED_REST_SECONDS
        return min(self.policy.rest_seconds * 2 ** min(failures - 1, 30), self.policy.longest_rest_seconds)

    def out_of_quota(self, candidate: Candidate) -> None:
        """Put its equivalents right behind it, and local models last."""
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
    """The chain as written; its fallback models come behind it, but before local models at its end."""
    first = [Candidate(provider=p, tier=tier, model=p.models[tier]) for p in providers]
    then = [Candidate(provider=p, tier="fallback", model=p.models["fallback"]) for p in providers]
    then = [c for c in then if c.model != c.provider.models[tier]]
    end = len(first)
    while end and first[end - 1].provider.host.local:
        end -= 1
    return [*first[:end], *then, *first[end:]]
