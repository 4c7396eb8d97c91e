"""Data, compared as bytes: colors, tiles and text for the SNES."""

from hafs.evaluation.rom.task import RomTask

from ..asm.row import le
from ..dice import Dice
from .build import family, made

DATA = "Answer with the data alone, as asar data lines (db, dw)."
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lines(data: bytes) -> str:
    """Bytes as data lines of eight."""
    return " | ".join("db " + ", ".join(f"${byte:02X}" for byte in data[k : k + 8]) for k in range(0, len(data), 8))


@family
def convert_data(d: Dice, k: int) -> RomTask:
    prompt, data, wrong = (_colors, _tile, _text)[k % 3](d, k)
    return made(
        "convert_data", k, f"{prompt} {DATA}", lines(data), (lines(wrong), lines(data[:-1])), kind="bytes", expected=data.hex()
    )  # fmt: skip


def _colors(d: Dice, k: int) -> tuple[str, bytes, bytes]:
    colors = [tuple(8 * d.between(0, 31) for _ in range(3)) for _ in range(4 + k)]
    told = ", ".join(f"#{r:02X}{g:02X}{b:02X}" for r, g, b in colors)
    right = b"".join(le(r >> 3 | g >> 3 << 5 | b >> 3 << 10) for r, g, b in colors)
    swapped = b"".join(le(b >> 3 | g >> 3 << 5 | r >> 3 << 10) for r, g, b in colors)
    return (
        f"Convert these RGB colors to the SNES palette format (15 bits, blue highest, low byte first; a component is its "
        f"8-bit value divided by 8): {told}.",
        right,
        swapped if swapped != right else bytes(len(right)),
    )


def _tile(d: Dice, k: int) -> tuple[str, bytes, bytes]:
    del k
    pixels = [[d.between(0, 15) for _ in range(8)] for _ in range(8)]

    def plane(row: list[int], bit: int) -> int:
        return sum((pixel >> bit & 1) << 7 - x for x, pixel in enumerate(row))

    first, second = (b"".join(bytes((plane(row, a), plane(row, b))) for row in pixels) for a, b in ((0, 1), (2, 3)))
    shown = "\n".join("".join(f"{pixel:X}" for pixel in row) for row in pixels)
    planar = b"".join(bytes(plane(row, bit) for row in pixels) for bit in range(4))
    return f"Convert this 8 x 8 picture, one hexadecimal color number per pixel, to a 4bpp SNES tile:\n\n{shown}\n\n", \
        first + second, planar  # fmt: skip


def _text(d: Dice, k: int) -> tuple[str, bytes, bytes]:
    base, space, end = d.step(0x10, 0xA0, 8), d.between(0xC0, 0xEF), d.pick(0xFF, 0xFE, 0xFB)
    text = d.pick("THE DOOR IS OPEN", "TAKE THE LAMP", "GO EAST AT DAWN", "A KEY LIES HERE") if k < 3 else d.pick(
        "WAIT FOR NIGHT", "THE WELL IS DRY", "ASK THE OLD MAN")  # fmt: skip
    right = bytes(space if letter == " " else base + LETTERS.index(letter) for letter in text) + bytes((end,))
    wrong = bytes(letter if letter != 0x20 else space for letter in text.encode()) + bytes((end,))
    return (
        f'Encode the text "{text}": A is ${base:02X}, B is ${base + 1:02X} and so on, a space is ${space:02X}, and ${end:02X} '
        "ends the text.",
        right,
        wrong,
    )
