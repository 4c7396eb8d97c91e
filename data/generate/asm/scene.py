"""Rows of the asar edition alone: idioms of people who write asar, each with cases like a task of the suite."""

from collections.abc import Callable

from hafs.evaluation.rom.case import RomCase
from hafs.evaluation.rom.task import RomTask

from ..dice import Dice
from .row import label, le, x2, x4, x6

EACH = 8
PROBE = 0x108000
"""Where asar's first free space lies in an empty image of 1 MB."""
Scene = Callable[[Dice, int], tuple[RomTask, str]]


def _task(name: str, k: int, prompt: str, answer: str, **more: object) -> RomTask:
    return RomTask(
        id=f"{name}-{k + 1}", family=name, prompt=prompt, kind=more.pop("kind", "routine"), answer=answer,
        must_fail=(), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _site(d: Dice) -> tuple[int, int, int, dict[int, str]]:
    """A routine of the game that a hook can go into: its address, the cell it stores to, the value, and the image."""
    site, cell, value = (
        (d.between(0, 12) << 16) | 0x8000 + d.step(0x100, 0x6000, 0x10),
        d.step(0x0E00, 0x0FF0, 2),
        d.between(1, 250),
    )
    code = f"a9{value:02x}8d{le(cell).hex()}6b"
    return site, cell, value, {site: code}


def scene_defines(d: Dice, k: int) -> tuple[RomTask, str]:
    at, most = 0x7EF360 + d.between(0, 0x30), d.between(20, 200)
    name, word = label(d, "add", d.pick("one", "step")), d.pick("counter", "score", "steps", "deaths")
    answer = (
        f"!{word} = {x6(at)}\n!most = {most}\n\n{name}:\n  lda.l !{word}\n  cmp.b #!most\n  bcs .full\n  inc a\n"
        f"  sta.l !{word}\n.full:\n  rtl"
    )
    cases = tuple(RomCase(mem={at: v}, out={at: min(v + 1, most)}) for v in (0, most - 1, most))
    prompt = d.pick(
        f"Write {name} for asar with defines !{word} ({x6(at)}) and !most ({most}): add 1 to !{word} unless it is !most.",
        f"In asar, count {x6(at)} up to {most}. Name the address and the limit with defines.",
    )
    return _task("scene_defines", k, prompt, answer, cases=cases), (
        "A define starts with ! and is replaced as text, so the address and the limit are written once."
    )


def scene_one_line(d: Dice, k: int) -> tuple[RomTask, str]:
    cells, values = [0x0400 + d.step(0, 0x1800, 4) for _ in range(3)], [d.between(1, 250) for _ in range(3)]
    cells = [cell + n for n, cell in enumerate(cells)]
    name = label(d, "set", d.pick("up", "values", "start"))
    pairs = list(zip(cells, values, strict=True))
    answer = f"{name}:\n" + "".join(f"  LDA #{x2(v)} : STA {x4(c)}\n" for c, v in pairs) + "  RTL"
    told = ", ".join(f"{x2(v)} at {x4(c)}" for c, v in pairs)
    prompt = d.pick(
        f"Write {name} in the style LDA : STA, a pair on each line: {told}.",
        f"asar: store {told}. One load and store per line, joined with a colon.",
    )
    cases = (RomCase(out=dict(reversed(pairs))),)
    return _task("scene_one_line", k, prompt, answer, cases=cases), (
        "A colon with a space on both sides separates instructions on one line."
    )


def scene_local_labels(d: Dice, k: int) -> tuple[RomTask, str]:
    at, n, v = d.step(0x0400, 0x1700, 0x10), d.between(4, 100), d.between(1, 250)
    name = label(d, "fill", d.pick("row", "list", "slots"))
    answer = f"{name}:\n  ldx.b #{n - 1}\n  lda.b #{v}\n.loop:\n  sta.w {x4(at)},x\n  dex\n  bpl .loop\n  rtl"
    prompt = d.pick(
        f"Write {name} for asar with a sublabel: fill {n} bytes at {x4(at)} with {v}.",
        f"asar, with a local .loop label: {n} bytes of {v} from {x4(at)} on.",
    )
    cases = (RomCase(mem={at: bytes(n) + b"\x31"}, out={at: bytes((v,)) * n + b"\x31"}),)
    return _task("scene_local_labels", k, prompt, answer, cases=cases), (
        f".loop belongs to {name}, so other routines may have a .loop too."
    )


def _hooked(d: Dice, k: int, name: str, style: str) -> tuple[RomTask, str]:
    site, cell, value, image = _site(d)
    extra, free = 0x7EF3C0 + d.between(0, 0x2F), PROBE + 0x10000 * (k % 4)
    body = f"  lda.l {x6(extra)} : inc a : sta.l {x6(extra)}\n  lda.b #{x2(value)} : sta.w {x4(cell)}\n  rtl"
    shown = f"lda #{x2(value)} : sta {x4(cell)} : rtl"
    answer, what, why = {
        "pushpc": (
            f"org {x6(free)}\nHook:\n{body}\n\npushpc\norg {x6(site)}\n  jsl Hook : nop\npullpc",
            f"put the new code at {x6(free)} and come back to it with pushpc and pullpc",
            "pushpc keeps the current position and pullpc goes back to it, so more code can follow the hook.",
        ),
        "freecode": (
            f"org {x6(site)}\n  autoclean jsl Hook : nop\n\nfreecode\nHook:\n{body}",
            "let asar find free space (freecode), and clean up old code when the patch is applied again",
            "freecode puts the code into free space behind a tag, and autoclean removes that space before it is used anew.",
        ),
        "sized": (
            f"org {x6(site)}\n  jsl Hook : nop\nassert pc() == {x6(site + 5)}\n\norg {x6(free)}\nHook:\n{body}",
            f"replace exactly five bytes and put the new code at {x6(free)}",
            "jsl takes four bytes; the nop fills the fifth, so that no half instruction is left.",
        ),
    }[style]
    prompt = d.pick(
        f"At {x6(site)} the game runs {shown}. Write an asar patch that hooks it: also add 1 to {x6(extra)}; {what}.",
        f"asar patch: make the routine at {x6(site)} ({shown}) count its calls at {x6(extra)} too. Please {what}.",
    )
    cases = tuple(RomCase(mem={extra: v}, out={extra: v + 1 & 255, cell: value}) for v in (0, 255, 40))
    return _task(
        name, k, prompt, answer, kind="patch", image=image, entry=site, cases=cases,
        may_patch=((site, site + 5), (free & 0xFF0000 | 0x8000, free | 0x7FFF)), most_bytes=80,
    ), why  # fmt: skip


def scene_pushpc(d: Dice, k: int) -> tuple[RomTask, str]:
    return _hooked(d, k, "scene_pushpc", "pushpc")


def scene_freecode(d: Dice, k: int) -> tuple[RomTask, str]:
    return _hooked(d, 0 * k, "scene_freecode", "freecode")


def scene_sized_hook(d: Dice, k: int) -> tuple[RomTask, str]:
    return _hooked(d, k, "scene_sized_hook", "sized")


SCENES: tuple[Scene, ...] = (
    scene_defines, scene_one_line, scene_local_labels, scene_pushpc, scene_freecode, scene_sized_hook,
)  # fmt: skip


def scene_rows(seed: int) -> list[tuple[RomTask, str]]:
    """All rows: a task, and the sentence that follows its code in the answer."""
    return [build(Dice(f"scene/{seed}/{build.__name__}/{k}"), k) for build in SCENES for k in range(EACH)]
