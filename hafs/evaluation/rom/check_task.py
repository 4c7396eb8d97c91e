"""One answer to a task of the suite, checked: assembled or applied, measured, run."""

from collections.abc import Container
from pathlib import Path

from hafs.evaluation.rom.check import NO_CODE, Executed
from hafs.evaluation.rom.machine import ORIGIN, Program, run
from hafs.evaluation.rom.task import RomTask, address_of
from hafs.evaluation.rom.toolchain import Asar, Assembler, DoesNotAssemble

HEADER = (0x00FFC0, 0x00FFDF)
"""The image's title and checksum, which an assembler may write."""
_STRIDE = 4096


def check_task(
    source: str, task: RomTask, *, seed: int, assembler: Assembler, folder: Path, seconds: float
) -> Executed:
    """Assemble an answer to a task and run it on the task's cases.

    Args:
        source: The code; empty: the answer has none.
        task: What is asked.
        seed: Of what unset memory and registers hold.
        assembler: Of the task's dialect.
        folder: An empty folder to work in.
        seconds: Longest time for the assembler.
    """
    if not source.strip():
        return NO_CODE
    try:
        if task.kind == "patch":
            assert isinstance(assembler, Asar), "patches are written for asar"
            return _patch(assembler.patched(f"lorom\n{source}\n", task.base, folder, seconds), task, seed)
        code = assembler.assemble(source, folder, seconds)
    except (DoesNotAssemble, UnicodeEncodeError) as error:
        return Executed(right=False, why=f"does not assemble: {error}")
    return _data(code, task) if task.kind == "bytes" else _routine(code, task, seed)


def _data(code: bytes, task: RomTask) -> Executed:
    wanted = bytes.fromhex(task.expected)
    if code == wanted:
        return Executed(right=True, size=len(code), ran=code[:64].hex())
    at = next((k for k, (a, b) in enumerate(zip(code, wanted, strict=False)) if a != b), min(len(code), len(wanted)))
    got = f"${code[at]:02X}" if at < len(code) else "nothing"
    want = f"${wanted[at]:02X}" if at < len(wanted) else "nothing"
    return Executed(right=False, why=f"byte {at} is {got}, expected {want}", size=len(code), ran=code[:64].hex())


def _routine(code: bytes, task: RomTask, seed: int) -> Executed:
    ran = f"${ORIGIN:06X}: {code[:64].hex()}"
    if task.most_bytes and len(code) > task.most_bytes:
        why = f"is {len(code)} bytes long, allowed are {task.most_bytes}"
        return Executed(right=False, why=why, size=len(code), ran=ran)
    return _runs(Program(code=code, entry=task.entry), task, seed, len(code), ran)


def _patch(image: bytes, task: RomTask, seed: int) -> Executed:
    changed = [at for at in differences(task.base, image) if not HEADER[0] <= address_of(at) <= HEADER[1]]
    ran = ", ".join(_pieces(image, changed))
    outside = [at for at in changed if not any(a <= address_of(at) <= b for a, b in task.may_patch)]
    if outside:
        why = f"changes ${address_of(outside[0]):06X}, which must stay as it is"
        return Executed(right=False, why=why, size=len(changed), ran=ran)
    if task.most_bytes and len(changed) > task.most_bytes:
        why = f"changes {len(changed)} bytes, allowed are {task.most_bytes}"
        return Executed(right=False, why=why, size=len(changed), ran=ran)
    return _runs(Program(image=image, entry=task.entry), task, seed, len(changed), ran)


def differences(before: bytes, after: bytes) -> list[int]:
    """Offsets at which two images differ; all after the end of the shorter one."""
    found = []
    for start in range(0, min(len(before), len(after)), _STRIDE):
        a, b = before[start : start + _STRIDE], after[start : start + _STRIDE]
        if a != b:
            found += [start + k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    return found + list(range(min(len(before), len(after)), max(len(before), len(after))))


def _pieces(image: bytes, changed: list[int]) -> list[str]:
    """Runs of changed bytes, in hexadecimal; the first few."""
    found: list[str] = []
    last = -2
    for at in changed:
        if at > last + 1:
            found.append(f"${address_of(at):06X}: ")
        found[-1] += f"{image[at]:02x}" if at < len(image) else ""
        last = at
    return [piece[:80] for piece in found[:4]]


class _Cells(Container[int]):
    """The cells of some ranges."""

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        self._ranges = ranges

    def __contains__(self, cell: object) -> bool:
        return isinstance(cell, int) and any(first <= cell <= last for first, last in self._ranges)


def _runs(program: Program, task: RomTask, seed: int, size: int, ran: str) -> Executed:
    steps = 0
    for number, case in enumerate(task.cases, 1):
        end = run(program, case, seed=seed * 97 + number, steps=task.most_steps, may_change=_Cells(task.may_change))
        steps += end.steps
        if end.problems:
            why = f"case {number} of {len(task.cases)}: {end.problems[0]}"
            return Executed(right=False, why=why, size=size, steps=steps, ran=ran)
    return Executed(right=True, size=size, steps=steps, ran=ran)
