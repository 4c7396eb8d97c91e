"""The ledger: uses and rests of accounts, in memory and on disk."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hafs.core.records import Damaged, say_damaged
from hafs.providers.quota.file import numbered, read, write
from hafs.providers.quota.limits import LONGEST_REST_SECONDS, Limits, Rest, Uses

log = logging.getLogger(__name__)

LOCK_SECONDS = 0.05
"""How long a request waits for another process that writes; then it writes later."""
WRITE_EVERY_SECONDS = 1.0
"""Uses of accounts without limits are written this often; rests and limited uses at once."""
LOOK_EVERY_SECONDS = 0.05
"""How often the file is looked at for what other processes wrote."""


class Ledger:
    """Uses and rests, in memory and on disk; safe for threads and for processes.

    Args:
        path: The file; None keeps everything in memory.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._rests: dict[str, Rest] = {}
        self._uses: dict[str, Uses] = {}
        self._unwritten: dict[str, Uses] = {}
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
            if not (self._rests or limits.any):
                return 0.0, ""
            now = self.clock()
            for key in (account, f"{account}|{model}"):
                rest = self._rests.get(key)
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
            for key in (account, f"{account}|{model}") if self._rests else ():
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
            for key in (account, f"{account}|{model}") if self._rests else ():
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
            self._rests[key] = Rest(until=until, seconds=until - now, reason=reason, said=said, failures=failures)
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
            uses = self._uses.setdefault(account, Uses())
            uses.add(now, 0, 0)
            rests = {key: rest for key, rest in self._rests.items() if key.split("|")[0] == account and rest.wait(now)}
            return rests, uses.windows

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._guard:
            self._write(at_once=True)

    def _use(self, account: str, now: float, *, requests: int, tokens: int) -> None:
        uses = self._uses.get(account) or self._uses.setdefault(account, Uses())
        uses.add(now, requests, tokens)
        if self.path is not None and not account.startswith("~"):
            self._unwritten.setdefault(account, Uses()).add(now, requests, tokens)

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
            self._refresh(self.path)
            self._seen = changed

    def _refresh(self, path: Path) -> None:
        """Take what the file says; of a damaged one nothing, and what this process knows is written over it."""
        try:
            self._take(read(path))
        except Damaged as damage:
            say_damaged(path, damage, "hafs goes on counting with what this process knows")

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
        self._uses = {account: Uses(numbered(windows)) for account, windows in told["uses"].items()} | own
        for account, uses in self._unwritten.items():
            self._uses.setdefault(account, Uses()).merge(uses.windows)

    def _write(self, *, at_once: bool = False) -> None:
        """Put the file on top of what others wrote; a disk or a neighbour in the way never stops a request."""
        if self._changed:
            self._changed = {key for key in self._changed if key[0] != "~"}
        if self.path is None or not (self._changed or self._unwritten):
            return
        moment = time.monotonic()
        if not (at_once or self._changed) and moment - self._written < WRITE_EVERY_SECONDS:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                self._refresh(self.path)
                self._seen = write(self.path, self._rests, self._uses)
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
