"""The ledger: usage and backoffs of accounts, in memory and on disk."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hafs.core.records import Damaged, say_damaged
from hafs.providers.quota.file import numbered, read, write
from hafs.providers.quota.limits import LONGEST_BACKOFF_SECONDS, Backoff, Limits, Uses

log = logging.getLogger(__name__)

LOCK_SECONDS = 0.05
"""How long a request waits for another process that writes; after that it writes later."""
EXACT_SECONDS = 2.0
"""How long a request of a limited account waits for it: the limit is checked and counted under the lock."""
WRITE_EVERY_SECONDS = 1.0
"""How often the usage of accounts without limits is written; backoffs and limited usage are written immediately."""
LOOK_EVERY_SECONDS = 0.05
"""How often the file is checked for changes by other processes."""


class Ledger:
    """Usage and backoffs, in memory and on disk; safe for threads and processes.

    Args:
        path: The file; None: in memory only.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._backoffs: dict[str, Backoff] = {}
        self._uses: dict[str, Uses] = {}
        self._unwritten: dict[str, Uses] = {}
        self._changed: set[str] = set()
        self._guard = threading.RLock()
        self._seen = self._written = self._looked = 0.0
        self._complained = False

    def wait(self, account: str, model: str, limits: Limits) -> tuple[float, str]:
        """Seconds until the model may be called, and the reason; (0, "") if it may be called now.

        Args:
            account: The account whose limits apply.
            model: The host's name of the model.
            limits: Our own limits.
        """
        with self._guard:
            self._look()
            if not (self._backoffs or limits.any):
                return 0.0, ""
            now = self.clock()
            for key in (account, f"{account}|{model}"):
                rest = self._backoffs.get(key)
                if rest and rest.rebase(now):
                    self._changed.add(key)
                if rest and rest.wait(now):
                    return rest.wait(now), rest.reason
            if not limits.any:
                return 0.0, ""
            uses = self._uses.setdefault(account, Uses())
            uses.add(now, 0, 0)
            window = limits.reached(uses.windows)
            return (0.0, "") if window is None else (window - now % window, "limit")

    def enter(self, account: str, model: str, limits: Limits, *, probe_seconds: float) -> bool:
        """Count a request before it is made; False: another request was first, and this one must not be made.

        Args:
            account: The account whose limits apply.
            model: The host's name of the model.
            limits: Our own limits.
            probe_seconds: After a backoff, how long this probe may take before another request may probe.
        """
        with self._guard:
            if self.wait(account, model, limits)[1] not in ("", "limit"):
                return False
            if limits.any and self.path is not None and not account.startswith("~"):
                exact = self._enter_under_the_lock(self.path, account, model, limits, probe_seconds)
                if exact is not None:
                    return exact
            if not self._admit(account, model, limits, probe_seconds):
                return False
            self._write(immediately=limits.any)
            return True

    def _enter_under_the_lock(
        self, path: Path, account: str, model: str, limits: Limits, probe_seconds: float
    ) -> bool | None:
        """Check and count while no other process can; None: the file cannot be locked, so the own counts must do."""
        admitted = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=EXACT_SECONDS, poll_interval=0.001):
                self._refresh(path)
                before = self._windows(account)
                admitted = self._admit(account, model, limits, probe_seconds)
                if before != self._windows(account):  # admitted, or the clock was set back
                    self._commit(path)
        except Timeout:
            pass
        except OSError as error:
            self._complain(error)
        return admitted

    def _windows(self, account: str) -> list[tuple[int, ...]]:
        return [tuple(window) for window in self._uses.setdefault(account, Uses()).windows.values()]

    def _admit(self, account: str, model: str, limits: Limits, probe_seconds: float) -> bool:
        if self.wait(account, model, limits)[0]:
            return False
        now = self.clock()
        for key in (account, f"{account}|{model}") if self._backoffs else ():
            if key in self._backoffs:
                self._backoffs[key].probe_until = now + probe_seconds
                self._changed.add(key)
        self._use(account, now, requests=1, tokens=0)
        return True

    def leave(self, account: str, model: str, *, tokens: int = 0, well: bool) -> None:
        """Record the end of a request without an error of the host.

        Args:
            account: The account whose limits apply.
            model: The host's name of the model.
            tokens: Input and output tokens.
            well: Whether it was answered; False: it says nothing about the host, for example when cancelled.
        """
        with self._guard:
            for key in (account, f"{account}|{model}") if self._backoffs else ():
                rest = self._backoffs.get(key)
                if rest is None:
                    continue
                if well:
                    del self._backoffs[key]
                else:
                    rest.probe_until = 0.0
                self._changed.add(key)
            self._use(account, self.clock(), requests=0, tokens=tokens)
            self._write()

    def back_off(
        self, account: str, model: str | None, seconds: Callable[[int], float], reason: str, said: str
    ) -> float:
        """Let an account or one of its models back off after an error; returns the seconds.

        Args:
            account: The account.
            model: One model; None: the whole account.
            seconds: The length, from the number of consecutive failures.
            reason: The kind of error.
            said: The host's message, without secrets.
        """
        key = account if model is None else f"{account}|{model}"
        with self._guard:
            now, before = self.clock(), self._backoffs.get(key)
            failures = before.failures + 1 if before and now >= before.until else (before.failures if before else 1)
            length = min(seconds(failures), LONGEST_BACKOFF_SECONDS)
            until = max(now + length, before.until if before else 0.0)
            self._backoffs[key] = Backoff(until=until, seconds=until - now, reason=reason, said=said, failures=failures)
            self._changed.add(key)
            other = self._backoffs.get(account if model is not None else "")
            if other is not None:
                other.probe_until = 0.0
                self._changed.add(account)
            self._write(immediately=True)
            return length

    def look(self, account: str) -> tuple[dict[str, Backoff], dict[int, list[int]]]:
        """The backoffs of an account by key, and its usage by window."""
        with self._guard:
            self._look(now=True)
            now = self.clock()
            uses = self._uses.setdefault(account, Uses())
            uses.add(now, 0, 0)
            rests = {
                key: rest for key, rest in self._backoffs.items() if key.split("|")[0] == account and rest.wait(now)
            }
            return rests, uses.windows

    def flush(self) -> None:
        """Write pending changes."""
        with self._guard:
            self._write(immediately=True)

    def _use(self, account: str, now: float, *, requests: int, tokens: int) -> None:
        uses = self._uses.get(account) or self._uses.setdefault(account, Uses())
        uses.add(now, requests, tokens)
        if self.path is not None and not account.startswith("~"):
            self._unwritten.setdefault(account, Uses()).add(now, requests, tokens)

    def _look(self, *, now: bool = False) -> None:
        """Read the file if another process changed it."""
        moment = time.monotonic()
        if self.path is None or (moment - self._looked < LOOK_EVERY_SECONDS and not now):
            return
        self._looked = moment
        try:
            changed = self.path.stat().st_mtime_ns
        except OSError:
            return
        if changed != self._seen:
            self._refresh(self.path)
            self._seen = changed

    def _refresh(self, path: Path) -> None:
        """Read the file; a damaged one is ignored and overwritten with this process's state."""
        try:
            self._take(read(path))
        except Damaged as damage:
            say_damaged(path, damage, "hafs continues with the usage known to this process")

    def _take(self, told: dict[str, Any]) -> None:
        """The file's contents plus this process's pending changes."""
        mine = {
            key: self._backoffs.get(key) for key in self._changed | {k for k in self._backoffs if k.startswith("~")}
        }
        own = {account: uses for account, uses in self._uses.items() if account.startswith("~")}
        self._backoffs = {key: Backoff(**rest) for key, rest in told["rests"].items()}
        for key, rest in mine.items():
            if rest is None:
                self._backoffs.pop(key, None)
            else:
                self._backoffs[key] = rest
        self._uses = {account: Uses(numbered(windows)) for account, windows in told["uses"].items()} | own
        for account, uses in self._unwritten.items():
            self._uses.setdefault(account, Uses()).merge(uses.windows)

    def _write(self, *, immediately: bool = False) -> None:
        """Merge with the file and write it; a full disk or a locked file never stops a request."""
        if self._changed:
            self._changed = {key for key in self._changed if key[0] != "~"}
        if self.path is None or not (self._changed or self._unwritten):
            return
        moment = time.monotonic()
        if not (immediately or self._changed) and moment - self._written < WRITE_EVERY_SECONDS:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                self._refresh(self.path)
                self._commit(self.path)
        except Timeout:
            pass
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            log.warning("the ledger %s cannot be written (%s); it is kept in memory", self.path, error.strerror)
        self._complained = True

    def _commit(self, path: Path) -> None:
        """Write everything; the caller has the lock, and has read the file."""
        self._seen = write(path, self._backoffs, self._uses)
        self._written = time.monotonic()
        self._changed.clear()
        self._unwritten.clear()
