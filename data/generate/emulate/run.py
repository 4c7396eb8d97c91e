"""One run of a routine as a fact: what is there before, what must be there after."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .bus import Bus
from .cpu import Cpu, CrashError

ORIGIN = 0x8000
"""Where a routine is placed, in bank $00."""
RETURN = 0xFFF0
STACK = 0x1FC
STEPS = 30_000
FLAG_BITS = {"n": 0x80, "v": 0x40, "m": 0x20, "i": 0x10, "dec": 0x08, "z": 0x02, "c": 0x01}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Registers and memory before a call and after it. Widths, D, the data bank and the stack must come back."""

    regs: Mapping[str, int] = field(default_factory=dict)
    """Registers (a x y d db) and flags (n v m i dec z c; `i` is the index width) on entry; m and i start at 1."""
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


def _bytes(value: bytes | int) -> bytes:
    return value if isinstance(value, bytes) else bytes((value,))


def _get(cpu: Cpu, name: str) -> int:
    if name in FLAG_BITS:
        return int(bool(cpu.p & FLAG_BITS[name]))
    value = getattr(cpu, name)
    return value & 0xFF if name == "a" and cpu.size(0x20) == 1 else value


def _prepared(code: bytes, run: Run) -> Cpu:
    cpu = Cpu(Bus(run.ports))
    for offset, byte in enumerate(code):
        cpu.bus.poke(ORIGIN + offset, byte)
    for address, value in run.mem.items():
        for offset, byte in enumerate(_bytes(value)):
            cpu.bus.poke(address + offset, byte)
    for name, value in run.regs.items():
        if name in FLAG_BITS:
            cpu.flag(FLAG_BITS[name], value)
        else:
            setattr(cpu, name, value)
    cpu.s = STACK
    cpu.push(RETURN - 1, 3)
    return cpu


def _finish(cpu: Cpu, stop: int | None) -> None:
    for _ in range(STEPS):
        cpu.step()
        here = cpu.pb << 16 | cpu.pc
        if here == stop or (here == RETURN and cpu.opcode in (0x60, 0x6B)):
            return
    raise CrashError(f"still running after {STEPS} instructions")


def failures(code: bytes, run: Run) -> list[str]:
    """Run `code` and list what is not as the run says; empty when all holds."""
    cpu = _prepared(code, run)
    before = {name: _get(cpu, name) for name in ("m", "i", "d", "db")}
    try:
        _finish(cpu, run.stop)
    except CrashError as error:
        return [str(error)]
    wanted = before | dict(run.end)
    if "s" not in wanted:
        wanted["s"] = STACK - 3 if run.stop else STACK - 1 if cpu.opcode == 0x60 else STACK
    found = [
        f"{name} is ${_get(cpu, name):X}, expected ${value:X}"
        for name, value in wanted.items()
        if _get(cpu, name) != value
    ]
    for address, value in run.out.items():
        got = bytes(cpu.bus.peek(address + offset) for offset in range(len(_bytes(value))))
        if got != _bytes(value):
            found.append(f"${address:06X} holds {got[:16].hex()}, expected {_bytes(value)[:16].hex()}")
    return found
