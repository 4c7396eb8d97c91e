"""A task of the suite: what is asked, what an answer may touch, what it must do, and answers that must fail."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hafs.core.errors import DataError
from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.machine import ORIGIN
from hafs.evaluation.rom.source import Syntax

IMAGE_BYTES = 0x100000
Kind = Literal["routine", "patch", "bytes"]
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class RomTask:
    """One task; every answer to it is run, none is read."""

    id: str
    family: str
    """Tasks of one family ask for the same kind of thing."""
    prompt: str
    kind: Kind
    """routine: code at $008000 that is called; patch: applied to the image, then the entry is called; bytes: data."""
    answer: str
    """Source that passes; no model sees it."""
    must_fail: tuple[str, ...]
    """Sources that must not pass."""
    syntax: Syntax = "asar"
    image: Mapping[int, str] | None = None
    """For a patch: address to the bytes (hexadecimal) of the image; all others are 0."""
    entry: int = ORIGIN
    """The 24-bit address that is called."""
    cases: tuple[RomCase, ...] = ()
    """None for data."""
    may_change: Ranges = ()
    """Cells of memory, from and to, that a run may change beyond the cases' own."""
    may_patch: Ranges = ()
    """Addresses, from and to, where a patch may change the image."""
    most_bytes: int = 0
    """Longest machine code, or number of changed bytes; 0: any."""
    most_steps: int = 20_000
    """Instructions after which a run is stopped."""
    expected: str = ""
    """For data: the bytes, in hexadecimal."""

    @cached_property
    def base(self) -> bytes:
        """The image before a patch."""
        image = bytearray(IMAGE_BYTES)
        for address, text in (self.image or {}).items():
            data = bytes.fromhex(text)
            at = offset_of(address)
            image[at : at + len(data)] = data
        return bytes(image)

    def as_json(self) -> dict[str, Any]:
        """The line of the file."""
        told = asdict(self) | {"cases": [case.as_json() for case in self.cases]}
        told["image"] = {f"{address:06X}": text for address, text in (self.image or {}).items()}
        told["entry"] = f"{self.entry:06X}"
        for name in ("may_change", "may_patch"):
            told[name] = [[f"{first:06X}", f"{last:06X}"] for first, last in getattr(self, name)]
        return {name: value for name, value in told.items() if value}

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> "RomTask":
        """What `as_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        read = {name: value for name, value in told.items() if name != "key"}
        for name in ("may_change", "may_patch"):
            read[name] = tuple((int(first, 16), int(last, 16)) for first, last in told.get(name, ()))
        read["cases"] = tuple(map(RomCase.of_json, told.get("cases", ())))
        read["image"] = {int(address, 16): text for address, text in told.get("image", {}).items()} or None
        read["entry"] = int(told.get("entry", f"{ORIGIN:06X}"), 16)
        read["must_fail"] = tuple(told.get("must_fail", ()))
        return cls(**read)


def offset_of(address: int) -> int:
    """Where a LoROM address lies in the image."""
    return (address >> 16 & 0x7F) * 0x8000 + (address & 0x7FFF)


def address_of(offset: int) -> int:
    """The LoROM address of a place in the image."""
    return offset // 0x8000 << 16 | 0x8000 | offset % 0x8000


def read_tasks(path: str | Path) -> Sequence[RomTask]:
    """The tasks of a file.

    Raises:
        DataError: It cannot be read, or a line is no task.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [RomTask.of_json(json.loads(line)) for line in lines if line.strip()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{str(path)!r} holds no tasks: {error}", hint="data/README.md describes the form") from error
