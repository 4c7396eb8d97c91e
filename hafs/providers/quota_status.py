"""The ledger's entries of a provider, as text."""

from hafs.providers.provider import Provider
from hafs.providers.quota import DAY, MINUTE, Ledger


def standing(provider: Provider, ledger: Ledger) -> list[str]:
    """Its backoffs and the rest of its limits, one phrase each."""
    backoffs, uses = ledger.look(provider.host.account)
    now = ledger.clock()
    phrases = []
    for key, backoff in backoffs.items():
        who = key.partition("|")[2] or "account"
        phrases.append(f"{who} backs off {_span(backoff.wait(now))}: {backoff.reason.replace('_', ' ')}")
    limits = provider.limits
    for window, word, requests, tokens in (
        (MINUTE, "minute", limits.requests_per_minute, limits.tokens_per_minute),
        (DAY, "day", limits.requests_per_day, limits.tokens_per_day),
    ):
        for limit, used, what in zip((requests, tokens), uses[window][1:], ("requests", "tokens"), strict=True):
            if limit is not None:
                phrases.append(f"{max(0, limit - used):,} of {limit:,} {what} left this {word}")
    return phrases


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
