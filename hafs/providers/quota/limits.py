"""Limits, backoff and usage of an account."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated

from pydantic import Field

MINUTE, DAY = 60, 86_400
LONGEST_BACKOFF_SECONDS = DAY
"""The longest backoff: a host may ask for ten years, and clocks are set back."""

Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of an account per clock minute and UTC day; None: no limit of our own."""

    requests_per_minute: Count | None
    tokens_per_minute: Count | None
    requests_per_day: Count | None
    tokens_per_day: Count | None

    def reached(self, uses: dict[int, list[int]]) -> int | None:
        """The window (in seconds) whose limit is reached, or None.

        Args:
            uses: By window: its number since 1970, requests, tokens.
        """
        by_window = {
            DAY: (self.requests_per_day, self.tokens_per_day),
            MINUTE: (self.requests_per_minute, self.tokens_per_minute),
        }
        for window, limits in by_window.items():
            used = uses[window][1:]
            if any(limit is not None and count >= limit for count, limit in zip(used, limits, strict=True)):
                return window
        return None

    @cached_property
    def any(self) -> bool:
        """Whether there is any limit."""
        return any(value is not None for value in asdict(self).values())


@dataclass(kw_only=True)
class Backoff:
    """A time in which an account or model is not called; after it one request may probe (a circuit breaker)."""

    until: float
    """Seconds since 1970."""
    seconds: float = LONGEST_BACKOFF_SECONDS
    """The total length; it never lasts longer than this from now, so that setting back the clock cannot prolong it."""
    reason: str
    said: str
    failures: int = 1
    """Consecutive failures."""
    probe_until: float = 0.0
    """Until then one request probes; others keep waiting."""

    def rebase(self, now: float) -> bool:
        """Restart at `now` if the clock was set back to before the backoff began; returns whether it was."""
        if self.until - now <= self.seconds + 1:
            return False
        self.until, self.probe_until = now + min(self.seconds, LONGEST_BACKOFF_SECONDS), 0.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until a request may be made; 0: now."""
        until = max(self.until if self.until - now <= LONGEST_BACKOFF_SECONDS else 0.0, self.probe_until)
        return max(0.0, until - now)


@dataclass
class Uses:
    """Requests and tokens of an account in the current minute and day."""

    windows: dict[int, list[int]] = field(default_factory=lambda: {MINUTE: [0, 0, 0], DAY: [0, 0, 0]})

    def add(self, now: float, requests: int, tokens: int) -> None:
        """Count in the current windows; counts from before a clock change stay in them."""
        for seconds, window in self.windows.items():
            number = int(now // seconds)
            if window[0] < number:
                window[:] = [number, 0, 0]
            window[0] = number
            window[1] += requests
            window[2] += tokens

    def merge(self, other: dict[int, list[int]]) -> None:
        """Add the counts of another process, window by window."""
        for seconds, (number, requests, tokens) in other.items():
            window = self.windows[seconds]
            if number > window[0]:
                window[:] = [number, requests, tokens]
            elif number == window[0]:
                window[1] += requests
                window[2] += tokens
