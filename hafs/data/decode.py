"""Decode one line to a JSON object, or explain why it cannot be decoded."""

import json
import re
from typing import Any, NamedTuple

import orjson

_KEY = re.compile(rb'"\s*:')
_DEEPEST = 64


class Reject(NamedTuple):
    """Why a row is rejected: a stable reason code, and a message for the user."""

    reason: str
    message: str


class UnusableRow(Exception):
    """Carries a `Reject` out of nested functions."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reject = Reject(reason, message)


_TOO_DEEP = Reject("nesting", f"nested deeper than {_DEEPEST} levels")
_CUT_OFF = Reject("truncated_line", "the last line breaks off (no newline follows); was the file cut?")


class _Constant(Exception):
    """The JSON contains NaN or Infinity."""


class _Duplicate(Exception):
    """An object contains a key twice."""


def decode(line: bytes, *, ended: bool) -> dict[str, Any] | Reject:
    """Parse a line strictly: one object, UTF-8, finite numbers, each key once, no NUL.

    Args:
        line: The line without its newline.
        ended: Whether a newline follows; an invalid line without one was cut off.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _diagnose(line, ended, str(error))
    if not isinstance(row, dict):
        return Reject("not_an_object", f"expected an object, got {_kind(row)}")
    keys = _count_keys(row)
    if keys is None:
        return _TOO_DEEP
    if len(_KEY.findall(line)) != keys and (twice := _find_duplicate(line)):
        return Reject("duplicate_key", f"key {twice!r} is given twice in one object")
    if b"\\u0000" in line and _holds_nul(row):
        return Reject("nul", "a string contains the NUL character (\\u0000)")
    return row


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _count_keys(row: dict[str, Any]) -> int | None:
    """The number of keys in all nested objects; None if the nesting is too deep."""
    count = 0
    level: list[Any] = [row]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                count += len(value)
                below += [child for child in value.values() if isinstance(child, (dict, list))]
            else:
                below += [child for child in value if isinstance(child, (dict, list))]
        if not below:
            return count
        level = below
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Duplicate(next(name for name in names if names.count(name) > 1))
    return row


def _find_duplicate(line: bytes) -> str | None:
    try:
        json.loads(line, object_pairs_hook=_unique)
    except _Duplicate as found:
        return str(found)
    except (ValueError, RecursionError):
        return None
    return None


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(child) for key, child in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def _refuse_constant(name: str) -> None:
    raise _Constant(name)


def _diagnose(line: bytes, ended: bool, complaint: str) -> Reject:
    if line.startswith(b"\xef\xbb\xbf"):
        return Reject("byte_order_mark", "a byte order mark in the middle of the file (were files joined?)")
    if b"\0" in line:
        return Reject("nul", f"a NUL byte at column {line.index(0) + 1}")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reject("invalid_utf8", f"byte {line[error.start]:#04x} at column {error.start + 1} is not UTF-8")
    if "depth limit" in complaint.lower() or "recursion" in complaint.lower():
        return _TOO_DEEP
    return _diagnose_text(text.strip(), ended, complaint)


def _diagnose_text(text: str, ended: bool, complaint: str) -> Reject:
    try:
        _, end = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(text)
    except _Constant as name:
        return Reject("not_finite", f"{name} is not JSON; numbers must be finite")
    except RecursionError:
        return _TOO_DEEP
    except ValueError as error:
        return Reject("invalid_json", str(error)) if ended else _CUT_OFF
    rest = text[end:].lstrip(" ,")
    if rest.startswith(("{", "[")):
        return Reject("two_objects", f"a second value starts at column {len(text) - len(rest) + 1}; one per line")
    if "infinity" in complaint:
        return Reject("not_finite", "a number is too large to be finite")
    return Reject("invalid_json", complaint)
