"""A case: registers and memory before a routine is called, and what must hold after it; and its form in JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hafs.evaluation.rom.bus import Bus, Screen


@dataclass(frozen=True, kw_only=True)
class RomCase:
    """One call of a routine. It gives back widths, D, data bank, stack, decimal mode and the interrupt flag."""

    regs: Mapping[str, int] = field(default_factory=dict)
    """Registers (a x y d db) and flags (n v m i dec irq z c; `i` is the index width) on entry; m and i start at 1."""
    mem: Mapping[int, bytes | int] = field(default_factory=dict)
    """Address to the bytes (or the one byte) that lie there on entry."""
    out: Mapping[int, bytes | int] = field(default_factory=dict)
    """Address to the bytes that must lie there on return."""
    end: Mapping[str, int] = field(default_factory=dict)
    """Registers and flags on return, beyond those that must be as they were."""
    ports: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Values that successive reads of a hardware register give; the last one stays."""
    stop: int | None = None
    """A 24-bit address that ends the run as well, for code that leaves with a jump."""
    screen: Screen = "on"
    """What the screen does when the routine is called."""
    frames: tuple["RomCase", ...] = ()
    """Further calls of it, one per frame: `mem` is stored before each, all else stays as the call before left it."""

    def as_json(self) -> dict[str, Any]:
        """The fields that are not empty, addresses and bytes as hexadecimal text."""
        memory = {name: _packed(getattr(self, name)) for name in ("mem", "out")}
        ports = {f"{address:04X}": list(values) for address, values in self.ports.items()}
        told = {"regs": dict(self.regs), **memory, "end": dict(self.end), "ports": ports}
        told |= {"stop": f"{self.stop:06X}" if self.stop is not None else None}
        told |= {"screen": self.screen if self.screen != "on" else None}
        told |= {"frames": [frame.as_json() for frame in self.frames]}
        return {name: value for name, value in told.items() if value}

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> "RomCase":
        """A case from what `as_json` wrote.

        Raises:
            ValueError: A field is not what `as_json` writes.
        """
        return cls(
            regs=told.get("regs", {}), end=told.get("end", {}), mem=_unpacked(told.get("mem", {})),
            out=_unpacked(told.get("out", {})), screen=told.get("screen", "on"),
            ports={int(address, 16): tuple(values) for address, values in told.get("ports", {}).items()},
            stop=int(told["stop"], 16) if "stop" in told else None,
            frames=tuple(map(cls.of_json, told.get("frames", ()))),
        )  # fmt: skip


def as_bytes(value: bytes | int) -> bytes:
    """The bytes of a memory value; a number is one byte."""
    return value if isinstance(value, bytes) else bytes((value,))


def cells_of(memory: Mapping[int, bytes | int]) -> set[int]:
    """The cells that a case's memory describes, mirrors resolved."""
    return {Bus.home(address + k) for address, value in memory.items() for k in range(len(as_bytes(value)))}


def _packed(memory: Mapping[int, bytes | int]) -> dict[str, str]:
    return {f"{address:06X}": _spelled(as_bytes(value)) for address, value in memory.items()}


def _unpacked(memory: Mapping[str, str]) -> dict[int, bytes | int]:
    return {int(address, 16): _read(text) for address, text in memory.items()}


def _spelled(value: bytes) -> str:
    """Bytes as hexadecimal text; a row of eight or more equal bytes as `99*200`."""
    parts, at = [""], 0
    while at < len(value):
        count = 1
        while value[at : at + 1] == value[at + count : at + count + 1]:
            count += 1
        if count >= 8:
            parts += [f"{value[at]:02x}*{count}", ""]
        else:
            parts[-1] += value[at : at + count].hex()
        at += count
    return " ".join(part for part in parts if part)


def _read(text: str) -> bytes:
    found = b""
    for part in text.split():
        digits, _, count = part.partition("*")
        found += bytes.fromhex(digits) * int(count or 1)
    return found
