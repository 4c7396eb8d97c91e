"""Users of the server: a key and a budget per day for each, counted in SQLite, so that all processes share them.

A request is checked and counted in one transaction, so the number of requests is exact with any number of processes.
Tokens and dollars are known only when an answer ends, so requests that were admitted before may exceed these limits.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic does not check Python 3.11's own TypedDict when it is nested

from hafs.core import durable, records
from hafs.core.errors import ConfigError
from hafs.server.listen import SHORTEST_TOKEN

DAY_SECONDS = 86_400
LOCK_SECONDS = 5.0
"""How long a request waits for other processes that write."""
_TABLE = """CREATE TABLE IF NOT EXISTS used (user TEXT, day INTEGER, requests INTEGER, tokens INTEGER, dollars REAL,
    unpriced INTEGER, PRIMARY KEY (user, day))"""
_ADD = """INSERT INTO used VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user, day) DO UPDATE SET
    requests = requests + excluded.requests, tokens = tokens + excluded.tokens, dollars = dollars + excluded.dollars,
    unpriced = unpriced + excluded.unpriced"""


class UserSettings(TypedDict):
    """A user in `conf/serve.yaml`."""

    key_env: str
    requests_per_day: Annotated[int, Field(gt=0)] | None
    tokens_per_day: Annotated[int, Field(gt=0)] | None
    dollars_per_day: Annotated[float, Field(gt=0)] | None


@dataclass(frozen=True, kw_only=True)
class User:
    """A user, and its limits per UTC day; None: no limit."""

    name: str
    requests_per_day: int | None
    tokens_per_day: int | None
    dollars_per_day: float | None


@dataclass(frozen=True, kw_only=True)
class DayUsage:
    """The usage of a user today."""

    requests: int = 0
    tokens: int = 0
    dollars: float = 0.0
    unpriced: int = 0
    """Answers whose cost is unknown."""

    def reached(self, user: User) -> str | None:
        """The limit that is reached."""
        limits = (
            (self.requests, user.requests_per_day, "requests"),
            (self.tokens, user.tokens_per_day, "tokens"),
            (self.dollars, user.dollars_per_day, "dollars"),
        )
        return next((f"{limit:g} {what}" for used, limit, what in limits if limit is not None and used >= limit), None)


class UsageStore:
    """Counts in a SQLite file. A damaged file is renamed, which is reported, and counting starts from zero.

    Args:
        path: The file; its folder is made.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable.lock(path.with_suffix(".lock")):  # one of several processes sets a damaged file aside
            try:
                self._db = _opened(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, or the folder cannot be written
                    raise
                _set_aside(path)
                records.say_damaged(path, error, "the usage of this day is counted from zero")
                self._db = _opened(path)

    def enter(self, user: User) -> str | None:
        """Count a request; returns the limit that is reached, and then the request is not counted."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            reached = self.today(user.name).reached(user)
            if reached is None:
                self._db.execute(_ADD, (user.name, self._day(), 1, 0, 0.0, 0))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return reached

    def leave(self, user: User, *, tokens: int, dollars: float | None) -> None:
        """Count the usage of an answer; `dollars` is None if its cost is unknown."""
        self._db.execute(_ADD, (user.name, self._day(), 0, tokens, dollars or 0.0, dollars is None))

    def today(self, name: str) -> DayUsage:
        """The usage of a user since midnight UTC."""
        row = self._db.execute(
            "SELECT requests, tokens, dollars, unpriced FROM used WHERE user = ? AND day = ?", (name, self._day())
        ).fetchone()
        return DayUsage(requests=row[0], tokens=row[1], dollars=row[2], unpriced=row[3]) if row else DayUsage()

    def seconds_left(self) -> int:
        """Until midnight UTC, when the limits start again."""
        return int(DAY_SECONDS - self.clock() % DAY_SECONDS) + 1

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _day(self) -> int:
        return int(self.clock() // DAY_SECONDS)


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(_TABLE)
        if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
    except BaseException:
        db.close()
        raise
    return db


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.damaged"))
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


class Users:
    """The users by their keys.

    Args:
        settings: By name.
        usage: Counts their usage.

    Raises:
        ConfigError: A key is not set, too short, or that of two users.
    """

    def __init__(self, settings: Mapping[str, Any], usage: UsageStore) -> None:
        self.usage = usage
        self._by_key: dict[bytes, User] = {}
        for name, told in settings.items():
            variable = told["key_env"]
            key = os.environ.get(variable, "")
            if len(key) < SHORTEST_TOKEN:
                raise ConfigError(
                    f"user {name!r}: the key in {variable} has {len(key)} characters; it takes {SHORTEST_TOKEN}",
                    hint=f"export {variable}=$(openssl rand -hex 24)",
                )
            limits = {limit: told[limit] for limit in ("requests_per_day", "tokens_per_day", "dollars_per_day")}
            if self._by_key.setdefault(_digest(key), User(name=name, **limits)).name != name:
                raise ConfigError(f"user {name!r} has the key of another user")

    def of(self, key: str) -> User | None:
        """The user of a key. Digests are looked up, so the time says nothing about the keys."""
        return self._by_key.get(_digest(key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
