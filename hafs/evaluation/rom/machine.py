"""One run of a routine: set up as a case says, run to its return, and compared with what must hold."""

import random
from collections.abc import Container
from dataclasses import dataclass

from hafs.evaluation.rom.bus import Bus
from hafs.evaluation.rom.case import RomCase, as_bytes, cells_of
from hafs.evaluation.rom.cpu import Cpu, CrashError

ORIGIN = 0x8000
"""Where a routine is placed, in bank $00."""
RETURN = 0xFFF0
STACK = 0x1FC
STEPS = 30_000
FLAG_BITS = {"n": 0x80, "v": 0x40, "m": 0x20, "i": 0x10, "dec": 0x08, "irq": 0x04, "z": 0x02, "c": 0x01}
KEPT = ("m", "i", "d", "db", "dec", "irq")
"""Registers and flags that a routine gives back as they were."""
SCRATCH = range(0x7E0000, 0x7E0010)
"""The direct page's first bytes, which the game and the samples use as scratch: free to every routine."""
STACK_PAGE = range(0x7E0100, 0x7E0200)
PORTS = range(0x2000, 0x6000)
FREE_PORTS = frozenset(
    (*range(0x2102, 0x2105), *range(0x2115, 0x211A), *range(0x2121, 0x2123), *range(0x2180, 0x2184),
     *range(0x4202, 0x4207), *range(0x4214, 0x4218), 0x420B, *range(0x4300, 0x4380))
)  # fmt: skip
"""Ports without a lasting effect of their own: addresses and data of video memory, the arithmetic unit, DMA."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is run: a routine alone, or a routine in an image."""

    code: bytes = b""
    """Machine code, laid at $008000; empty: the image has it."""
    image: bytes = b""
    """A LoROM image; empty: there is no other ROM."""
    entry: int = ORIGIN
    """The 24-bit address that is called."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run ended."""

    problems: list[str]
    """Differences from the case, in order; empty: none."""
    steps: int
    """Instructions until it returned or was stopped."""
    changed: frozenset[int]
    """Cells that hold something else than before; video memory is among them."""
    cpu: Cpu
    """The processor as it stopped."""


def failures(code: bytes, case: RomCase) -> list[str]:
    """Run `code` and list the differences from the case; empty if there are none. Unset memory and registers are 0."""
    return run(code, case).problems


def run(
    code: bytes | Program, case: RomCase, *, seed: int = 0, steps: int = STEPS,
    may_change: Container[int] | None = None,
) -> RunEnd:  # fmt: skip
    """Run a routine on one case.

    Args:
        code: Its machine code, laid at $008000; or a program.
        case: What is there before, and what must be there after.
        seed: Of what unset memory and registers hold; 0: zeros.
        steps: Instructions after which it is stopped.
        may_change: Cells that it may change beyond the case's own, the scratch bytes and the stack; None: all.
    """
    program = code if isinstance(code, Program) else Program(code=code)
    cpu = _prepared(program, case, seed)
    before = {name: register(cpu, name) for name in KEPT}
    cells = dict(cpu.bus.cells)
    try:
        taken = _finish(cpu, case.stop, steps)
        problems = _held(cpu, case, before)
        for number, frame in enumerate(case.frames, 2):
            if problems:
                break
            cpu.bus.new_frame(frame.screen)
            _store(cpu, frame)
            cells |= {home: cpu.bus.cells[home] for home in cells_of(frame.mem)}
            _call(cpu, frame, program, seed + number)
            before["irq"] = register(cpu, "irq")
            taken += _finish(cpu, frame.stop, steps)
            problems = [f"frame {number}: {problem}" for problem in _held(cpu, frame, before)]
    except CrashError as error:
        return RunEnd(problems=[str(error)], steps=steps, changed=frozenset(), cpu=cpu)
    bus = cpu.bus
    changed = frozenset(
        home for home, value in bus.cells.items() if value != (cells[home] if home in cells else bus.noise(home))
    )
    if may_change is not None:
        problems += _elsewhere(bus, case, changed, may_change)
    return RunEnd(problems=problems, steps=taken, changed=changed, cpu=cpu)


def _held(cpu: Cpu, case: RomCase, before: dict[str, int]) -> list[str]:
    problems = _registers(cpu, case, before) + _memory(cpu.bus, case)
    if (port := cpu.bus.unread()) is not None:
        problems.append(f"it did not wait for ${port:04X}")
    return problems


def register(cpu: Cpu, name: str) -> int:
    """A register or flag as cases name them; A in its current width."""
    if name in FLAG_BITS:
        return int(bool(cpu.p & FLAG_BITS[name]))
    if name == "b":  # the high byte of A, also where A is 8 bits wide
        return cpu.a >> 8
    value = getattr(cpu, name)
    return value & 0xFF if name == "a" and cpu.size(0x20) == 1 else value


def _prepared(program: Program, case: RomCase, seed: int) -> Cpu:
    cpu = Cpu(Bus(case.ports, seed=seed, screen=case.screen, image=program.image))
    for offset, byte in enumerate(program.code):
        cpu.bus.poke(ORIGIN + offset, byte)
    _store(cpu, case)
    _call(cpu, case, program, seed)
    return cpu


def _store(cpu: Cpu, case: RomCase) -> None:
    for address, value in case.mem.items():
        for offset, byte in enumerate(as_bytes(value)):
            cpu.bus.poke(address + offset, byte)


def _call(cpu: Cpu, case: RomCase, program: Program, seed: int) -> None:
    """Set the registers as a case says, and call the program."""
    cpu.pb, cpu.pc = program.entry >> 16, program.entry & 0xFFFF
    if seed:
        _unset(cpu, random.Random(seed), case)
    for name, value in case.regs.items():
        if name in FLAG_BITS:
            cpu.flag(FLAG_BITS[name], value)
        elif name == "a" and "m" not in case.regs:  # the hidden high byte stays unset
            cpu.a = value if value > 0xFF else cpu.a & 0xFF00 | value
        else:
            setattr(cpu, name, value)
    if cpu.p & FLAG_BITS["i"]:
        cpu.x, cpu.y = cpu.x & 0xFF, cpu.y & 0xFF
    cpu.s = STACK
    cpu.push(RETURN - 1, 3)


def _unset(cpu: Cpu, chance: random.Random, case: RomCase) -> None:
    """What a caller may have left in the registers; widths, D, the data bank and decimal mode are agreed on.

    Interrupts may be off (`irq` is 1) or on, and must be so on return.

    A flag that the routine must answer in starts as the wrong answer, so that no answer is right by luck.
    """
    cpu.a, cpu.x, cpu.y = (chance.getrandbits(16) for _ in range(3))
    for name in ("n", "v", "z", "c", "irq"):
        cpu.flag(FLAG_BITS[name], 1 - case.end[name] if name in case.end else chance.getrandbits(1))


def _finish(cpu: Cpu, stop: int | None, steps: int) -> int:
    cells = cpu.bus.cells
    for taken in range(1, steps + 1):
        cpu.step()
        here = cpu.pb << 16 | cpu.pc
        if here == stop or (here == RETURN and cpu.opcode in (0x60, 0x6B)):
            return taken
        if not cpu.bus.image and cpu.bus.home(here) not in cells:
            raise CrashError(f"ran to ${here:06X}, where there is no code")
    raise CrashError(f"still running after {steps} instructions")


def _registers(cpu: Cpu, case: RomCase, before: dict[str, int]) -> list[str]:
    wanted = before | dict(case.end)
    if "s" not in wanted:
        wanted["s"] = STACK - 3 if case.stop else STACK - 1 if cpu.opcode == 0x60 else STACK
    return [
        f"{name} is ${register(cpu, name):X}, expected ${value:X}"
        for name, value in wanted.items()
        if register(cpu, name) != value
    ]


def _memory(bus: Bus, case: RomCase) -> list[str]:
    found = []
    for address, value in case.out.items():
        wanted = as_bytes(value)
        got = bytes(bus.peek(address + offset) for offset in range(len(wanted)))
        if got != wanted:
            at = next(offset for offset in range(len(wanted)) if got[offset] != wanted[offset])
            found.append(f"{_place(address + at)} holds ${got[at]:02X}, expected ${wanted[at]:02X}")
    if found and bus.lost:
        found.append(f"{bus.lost} writes to video memory were lost: the screen was on")
    return found


def _place(address: int) -> str:
    for name, start in (("scroll", 0x4000000), ("OAM", 0x3000000), ("CGRAM", 0x2000000), ("VRAM", 0x1000000)):
        if address >= start:
            return f"{name} byte ${address - start:04X}"
    return f"${address:06X}"


def _elsewhere(bus: Bus, case: RomCase, changed: frozenset[int], may_change: Container[int]) -> list[str]:
    """The changes of a routine that the case does not expect."""
    asked = cells_of(case.out)
    wrong = sorted(
        home
        for home in changed
        if home not in asked
        and home not in may_change
        and home not in SCRATCH
        and home not in STACK_PAGE
        and home not in FREE_PORTS
    )
    wrong = [*bus.rom_writes, *wrong]
    return [f"{_place(wrong[0])} was changed, which was not asked"] if wrong else []
