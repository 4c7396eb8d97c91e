"""Tidies the folder of receipts by age and count."""

import time
from contextlib import suppress
from pathlib import Path

DAY_SECONDS = 86_400


def tidy(folder: Path, *, days: float | None, most: int | None, now: float | None = None) -> int:
    """Remove receipts that are too old, then the oldest ones above a number; returns how many were removed.

    Args:
        folder: Of the receipts; other files in it stay.
        days: The age from which on they are removed; None: never for their age.
        most: How many stay; None: any number.
        now: Seconds since 1970.
    """
    if not folder.is_dir():
        return 0
    names = sorted(folder.glob("[0-9]*T[0-9]*Z-*.json"))  # names begin with their time
    limit = 0 if most is None else max(0, len(names) - most)
    if days is not None:
        moment = (time.time() if now is None else now) - days * DAY_SECONDS
        oldest = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
        limit = max(limit, sum(path.name < oldest for path in names))
    for path in names[:limit]:
        with suppress(FileNotFoundError):  # another process tidies too
            path.unlink()
    return limit
