"""The ledger's file: read completely, replaced atomically."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import xxhash

from hafs.core import durable
from hafs.core.records import CHECKSUM, Damaged
from hafs.core.state import state_folder
from hafs.providers.quota.limits import DAY, MINUTE, Backoff, Uses

_OPTIONS = orjson.OPT_NON_STR_KEYS


def ledger_path() -> Path:
    """The path of the user's ledger: `$HAFS_STATE/quota.json`, else in the user's state folder."""
    return state_folder() / "quota.json"


def write(path: Path, rests: Mapping[str, Backoff], uses: Mapping[str, Uses]) -> int:
    """Replace the file; returns its mtime in nanoseconds. Accounts with a leading `~` are not written.

    Not fsynced: an old ledger is good enough after a power cut, and no request waits for the disk.
    """
    text = {
        "rests": {key: asdict(rest) for key, rest in rests.items() if key[0] != "~"},
        "uses": {account: used.windows for account, used in uses.items() if account[0] != "~"},
    }
    data = orjson.dumps(text | {"xxh3": _checksum(text)}, option=_OPTIONS | orjson.OPT_INDENT_2)
    durable.write_bytes(path, data, sync=False)
    return path.stat().st_mtime_ns


def numbered(windows: dict[str, list[int]]) -> dict[int, list[int]]:
    """Windows by their length in seconds; JSON has no integer keys."""
    return {int(seconds): list(window) for seconds, window in windows.items()}


def read(path: Path) -> dict[str, Any]:
    """The contents of the file; empty if it is missing. Release 0.1 wrote it without a checksum.

    Raises:
        Damaged: The file is not valid.
    """
    try:
        told = orjson.loads(path.read_bytes())
        checksum = told.pop("xxh3", None)
        if checksum is not None and checksum != _checksum(told):
            raise Damaged(CHECKSUM)
        for rest in told["rests"].values():
            Backoff(**rest)
        for windows in told["uses"].values():
            if {MINUTE, DAY} != numbered(windows).keys():
                raise Damaged("a window is missing")
        return told
    except FileNotFoundError:
        return {"rests": {}, "uses": {}}
    except OSError as error:
        raise Damaged(f"it cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(CHECKSUM) from error


def _checksum(text: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(orjson.dumps(text, option=_OPTIONS | orjson.OPT_SORT_KEYS))
