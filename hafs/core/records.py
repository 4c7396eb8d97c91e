"""Small files with checksums: JSON with the SHA-256 of its content, and bytes that end with their SHA-256.

Every cache and state file is read here, or compared with a manifest (`durable.verify`). A reader handles damage in one
of three ways: it recreates the file and says so (`say_damaged`), refuses it in one line, or, if the file is only
informative, ignores it.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hafs.core.durable import Damaged, write_bytes, write_text

CHECKSUM = "it has no valid checksum"
_SEAL = b"\nsha256 "
_SEAL_BYTES = len(_SEAL) + 32
_said: set[Path] = set()


def write_record(path: Path, facts: Mapping[str, Any]) -> None:
    """Replace a small JSON file that contains the SHA-256 of its content.

    Raises:
        OSError: The disk is full or cannot be written; the old file is intact.
    """
    write_text(path, json.dumps({**facts, "sha256": _digest_of_facts(facts)}, indent=1))


def read_record(path: Path, *, unsealed: str | None = None) -> dict[str, Any] | None:
    """The content that `write_record` wrote; None if there is no file.

    Args:
        path: The file.
        unsealed: Read a file without a checksum, as release 0.1 wrote this one, and print this hint with the reason;
            empty: nothing is printed; None: such a file is damaged.

    Raises:
        Damaged: The content does not match its checksum.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if unsealed is not None and "sha256" not in facts and isinstance(facts, dict):
            if unsealed:
                _say_once(
                    path, f"{path} has no checksum, as release 0.1 wrote it, so damage cannot be seen; {unsealed}"
                )
            return facts
        if facts.pop("sha256") == _digest_of_facts(facts):
            return facts
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error
    raise Damaged(f"{path} is damaged: {CHECKSUM}")


def write_sealed(path: Path, data: bytes) -> None:
    """Replace a file of bytes; it ends with their SHA-256, so that `read_sealed` detects damage.

    Raises:
        OSError: The disk is full or cannot be written; the old file is intact.
    """
    write_bytes(path, data + _SEAL + hashlib.sha256(data).digest())


def read_sealed(path: Path) -> bytes | None:
    """The content that `write_sealed` wrote; None if there is no file.

    Raises:
        Damaged: The content does not match its checksum.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"it cannot be read: {error.strerror}") from error
    data, seal, digest = found[:-_SEAL_BYTES], found[-_SEAL_BYTES:-32], found[-32:]
    if seal != _SEAL or hashlib.sha256(data).digest() != digest:
        raise Damaged("its bytes are not those that were written")
    return data


def say_damaged(path: Path, why: object, instead: str) -> None:
    """Say on stderr, once per process, that a file is damaged and what happens instead.

    Args:
        path: The file or folder.
        why: What is wrong with it.
        instead: What hafs does instead.
    """
    _say_once(path, f"{path} is damaged ({why}); {instead}")


def _say_once(path: Path, line: str) -> None:
    if path not in _said:
        _said.add(path)
        print(line, file=sys.stderr)


def _digest_of_facts(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
