"""What may still be asked of whom: limits, uses and rests of accounts, kept on disk for every process of a user.

An account is a name, never a key; one that begins with `~` is this process's own and is not written. Times are
seconds since 1970, because the file outlives the process.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
from filelock import FileLock, Timeout
from pydantic import Field

log = logging.getLogger(__name__)

MINUTE, DAY = 60, 86_400
LONGEST_REST_SECONDS = DAY
"""No rest is believed for longer: a host may ask for ten years, and clocks are set back."""
LOCK_SECONDS = 0.05
"""How long a request waits for another process that writes; then it writes later."""
WRITE_EVERY_SECONDS = 1.0
"""Uses of accounts without limits are written this often; rests and limited uses at once."""
LOOK_EVERY_SECONDS = 0.05
"""How often the file is looked at for what other processes wrote."""

Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is asked of an account in a clock minute and a UTC day; None: as much as its host allows."""

    requests_per_minute: Count | None
    tokens_per_minute: Count | None
    requests_per_day: Count | None
    tokens_per_day: Count | None

    def reached(self, uses: dict[int, list[int]]) -> int | None:
        """The window (in seconds) whose limit is reached; None: none is.

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

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any(value is not None for value in asdict(self).values())


@dataclass(kw_only=True)
class Rest:
    """A time in which an account, or one of its models, is not asked; after it one request may try."""

    until: float
    reason: str
    said: str
    failures: int = 1
    """In a row."""
    probe_until: float = 0.0
    """Until then one request tries whether the rest is over; the others still stay away."""

    def wait(self, now: float) -> float:
        """Seconds until a request may try; 0: now."""
        until = max(self.until if self.until - now <= LONGEST_REST_SECONDS else 0.0, self.probe_until)
        return max(0.0, until - now)


@dataclass
class _Uses:
    """Requests and tokens of an account in the running minute and day."""

    windows: dict[int, list[int]] = field(default_factory=lambda: {MINUTE: [0, 0, 0], DAY: [0, 0, 0]})

    def add(self, now: float, requests: int, tokens: int) -> None:
        for seconds, window in self.windows.items():
            number = int(now // seconds)
            if window[0] != number:
                window[:] = [number, 0, 0]
            window[1] += requests
            window[2] += tokens

    def merge(self, other: dict[int, list[int]]) -> None:
        for seconds, (number, requests, tokens) in other.items():
            window = self.windows[seconds]
            if number > window[0]:
                window[:] = [number, requests, tokens]
            elif number == window[0]:
                window[1] += requests
                window[2] += tokens


def ledger_path() -> Path:
    """Where the user's ledger is: `$HAFS_STATE/quota.json`, else in the user's state folder."""
    from platformdirs import user_state_path

    base = os.environ.get("HAFS_STATE")
    return (Path(base) if base else user_state_path("hafs")) / "quota.json"


class Ledger:
    """Uses and rests, in memory and on disk; safe for threads and for processes.

    Args:
        path: The file; None keeps everything in memory.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._rests: dict[str, Rest] = {}
        self._uses: dict[str, _Uses] = {}
        self._unwritten: dict[str, _Uses] = {}
        self._changed: set[str] = set()
        self._guard = threading.RLock()
        self._seen = self._written = self._looked = 0.0
        self._complained = False

    def wait(self, account: str, model: str, limits: Limits) -> tuple[float, str]:
        """Seconds until the model may be asked, and why not yet; (0, "") when it may.

        Args:
            account: Whose limits count.
            model: The host's name of the model.
            limits: What we allow ourselves.
        """
        with self._guard:
            self._look()
            now = self.clock()
            for key in (account, f"{account}|{model}"):
                rest = self._rests.get(key)
                if rest and rest.wait(now):
                    return rest.wait(now), rest.reason
            if not limits.any:
                return 0.0, ""
            uses = self._uses.setdefault(account, _Uses())
            uses.add(now, 0, 0)
            window = limits.reached(uses.windows)
            return (0.0, "") if window is None else (window - now % window, "limit")

    def enter(self, account: str, model: str, limits: Limits, *, probe_seconds: float) -> bool:
        """Count a request that is about to be made; False: somebody else was faster and it must not be made.

        Args:
            account: Whose limits count.
            model: The host's name of the model.
            limits: What we allow ourselves.
            probe_seconds: After a rest, how long this request may take before another one tries.
        """
        with self._guard:
            if self.wait(account, model, limits)[0]:
                return False
            now = self.clock()
            for key in (account, f"{account}|{model}"):
                if key in self._rests:
                    self._rests[key].probe_until = now + probe_seconds
                    self._changed.add(key)
            self._use(account, now, requests=1, tokens=0)
            self._write(at_once=limits.any)
            return True

    def leave(self, account: str, model: str, *, tokens: int = 0, well: bool) -> None:
        """Note the end of a request that was not refused.

        Args:
            account: Whose limits count.
            model: The host's name of the model.
            tokens: In and out.
            well: Whether it was answered; False: it was cancelled, and says nothing about the host.
        """
        with self._guard:
            for key in (account, f"{account}|{model}"):
                rest = self._rests.get(key)
                if rest is None:
                    continue
                if well:
                    del self._rests[key]
                else:
                    rest.probe_until = 0.0
                self._changed.add(key)
            self._use(account, self.clock(), requests=0, tokens=tokens)
            self._write()

    def rest(self, account: str, model: str | None, seconds: Callable[[int], float], reason: str, said: str) -> float:
        """Let an account, or one of its models, rest after a refusal; returns the seconds.

        Args:
            account: Whose.
            model: Only this model; None: the whole account.
            seconds: How long, for the number of failures in a row.
            reason: The kind of refusal.
            said: The host's words, without secrets.
        """
        key = account if model is None else f"{account}|{model}"
        with self._guard:
            now, before = self.clock(), self._rests.get(key)
            failures = before.failures + 1 if before and now >= before.until else (before.failures if before else 1)
            length = min(seconds(failures), LONGEST_REST_SECONDS)
            until = max(now + length, before.until if before else 0.0)
            self._rests[key] = Rest(until=until, reason=reason, said=said, failures=failures)
            self._changed.add(key)
            other = self._rests.get(account if model is not None else "")
            if other is not None:
                other.probe_until = 0.0
                self._changed.add(account)
            self._write(at_once=True)
            return length

    def look(self, account: str) -> tuple[dict[str, Rest], dict[int, list[int]]]:
        """The rests of an account by key, and its uses by window, for a table."""
        with self._guard:
            self._look(now=True)
            now = self.clock()
            uses = self._uses.setdefault(account, _Uses())
            uses.add(now, 0, 0)
            rests = {key: rest for key, rest in self._rests.items() if key.split("|")[0] == account and rest.wait(now)}
            return rests, uses.windows

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._guard:
            self._write(at_once=True)

    def _use(self, account: str, now: float, *, requests: int, tokens: int) -> None:
        self._uses.setdefault(account, _Uses()).add(now, requests, tokens)
        if self.path is not None and not account.startswith("~"):
            self._unwritten.setdefault(account, _Uses()).add(now, requests, tokens)

    def _look(self, *, now: bool = False) -> None:
        """Read the file if another process wrote it."""
        moment = time.monotonic()
        if self.path is None or (moment - self._looked < LOOK_EVERY_SECONDS and not now):
            return
        self._looked = moment
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            return
        if changed != self._seen:
            self._take(_read(self.path))
            self._seen = changed

    def _take(self, told: dict[str, Any]) -> None:
        """What the file says, and on top of it what this process has not written."""
        mine = {key: self._rests.get(key) for key in self._changed | {k for k in self._rests if k.startswith("~")}}
        own = {account: uses for account, uses in self._uses.items() if account.startswith("~")}
        self._rests = {key: Rest(**rest) for key, rest in told["rests"].items()}
        for key, rest in mine.items():
            if rest is None:
                self._rests.pop(key, None)
            else:
                self._rests[key] = rest
        self._uses = {account: _Uses(_numbered(windows)) for account, windows in told["uses"].items()} | own
        for account, uses in self._unwritten.items():
            self._uses.setdefault(account, _Uses()).merge(uses.windows)

    def _write(self, *, at_once: bool = False) -> None:
        """Put the file on top of what others wrote; a disk or a neighbour in the way never stops a request."""
        self._changed = {key for key in self._changed if key[0] != "~"}
        if self.path is None or not (self._changed or self._unwritten):
            return
        moment = time.monotonic()
        if not (at_once or self._changed) and moment - self._written < WRITE_EVERY_SECONDS:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                self._take(_read(self.path))
                self._replace()
        except Timeout:
            return
        except OSError as error:
            if not self._complained:
                log.warning("the ledger %s cannot be written (%s); it is kept in memory", self.path, error.strerror)
            self._complained = True
            return
        self._written = moment
        self._changed.clear()
        self._unwritten.clear()

    def _replace(self) -> None:
        """Not fsynced: after a power cut an old ledger is as good, and a request does not wait for the disk."""
        assert self.path is not None
        text = {
            "rests": {key: asdict(rest) for key, rest in self._rests.items() if key[0] != "~"},
            "uses": {account: uses.windows for account, uses in self._uses.items() if account[0] != "~"},
        }
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            draft.write_bytes(orjson.dumps(text, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2))
            draft.replace(self.path)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        self._seen = self.path.stat().st_mtime_ns


def _numbered(windows: dict[str, list[int]]) -> dict[int, list[int]]:
    return {int(seconds): list(window) for seconds, window in windows.items()}


def _read(path: Path) -> dict[str, Any]:
    """What the file says; an unreadable one says nothing."""
    try:
        told = orjson.loads(path.read_bytes())
        for rest in told["rests"].values():
            Rest(**rest)
        for windows in told["uses"].values():
            if {MINUTE, DAY} != _numbered(windows).keys():
                raise ValueError
        return told
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"rests": {}, "uses": {}}
