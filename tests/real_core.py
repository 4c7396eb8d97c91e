"""A routine on a real SNES core (a libretro core of the system), for comparing hafs' own 65816 with it.

Set-up and exit are 65816 code in the image itself, so that any core gives the same answer.
"""

import ctypes
import os
import struct
from pathlib import Path

SIZE, RETURN, STACK, ENTRY, EXIT, CRASH = 0x100000, 0xFFF0, 0x1FC, 0xF000, 0xF800, 0xF900
RECORD = 0x701FE0
"""Where the exit stores the registers: the end of 8 KB of SRAM."""
FLAGS = {"n": 0x80, "v": 0x40, "m": 0x20, "i": 0x10, "dec": 0x08, "z": 0x02, "c": 0x01}
DONE, CRASHED = 0xA5, 0xBB
FOLDER = os.environ.get("SNES_CORES") or next(Path("/usr/lib").glob("*/libretro"), "/nowhere")
PATH = Path(FOLDER) / "bsnes_mercury_accuracy_libretro.so"


def missing():
    """Why no core can be used; empty where one can."""
    return "" if PATH.exists() else "no SNES core is installed (apt install libretro-bsnes-mercury-accuracy)"


def word(value):
    return struct.pack("<H", value & 0xFFFF)


def long(value):
    return struct.pack("<I", value & 0xFFFFFF)[:3]


def at(address):
    return (address >> 16 & 0x7F) * 0x8000 + (address & 0x7FFF)


def image_of(code, case):
    """A ROM that sets up a case, calls the code at $008000, and stores what came of it."""
    image = bytearray(SIZE)
    image[at(0x8000) : at(0x8000) + len(code)] = code
    memory = dict(case.mem) | ({0x2100: 0x0F} if case.screen == "on" else {})
    program = b"\x78\x18\xfb\xc2\x38\xa2" + word(STACK) + b"\x9a\xa9\0\0\x5b\xe2\x20\xa9\x80\x8f\x00\x21\x00"
    program += b"\xa9\x00\x8f\x00\x42\x00\x8f\x0b\x42\x00\x8f\x0c\x42\x00\xa9\0\x48\xab\xc2\x30"
    program += _moves(image, memory)
    if case.stop is not None:
        image[at(case.stop) : at(case.stop) + 4] = b"\x5c" + long(EXIT)
    program += _registers(case.regs)
    image[at(ENTRY) : at(ENTRY) + len(program)] = program
    image[at(RETURN) : at(RETURN) + 4] = b"\x5c" + long(EXIT)
    for place, mark in ((EXIT, DONE), (CRASH, CRASHED)):
        tail = _tail(mark)
        image[at(place) : at(place) + len(tail)] = tail
    _header(image)
    return bytes(image)


def _moves(image, memory):
    """Block moves that copy each piece of memory from the image."""
    program, data, where = b"", bytearray(), 0x188000
    for address, stored in memory.items():
        value = bytes([stored]) if isinstance(stored, int) else stored
        bank, low = address >> 16 & 0xFF, address & 0xFFFF
        if bank & 0x7F < 0x70 and low >= 0x8000:
            image[at(address) : at(address) + len(value)] = value
            continue
        source = where + len(data)
        data += value
        program += b"\xa2" + word(source) + b"\xa0" + word(low) + b"\xa9" + word(len(value) - 1)
        program += b"\x54" + bytes([bank, source >> 16])
    image[at(where) : at(where) + len(data)] = data
    return program


def _registers(regs):
    flags = 0x34
    for name, bit in FLAGS.items():
        if name in regs:
            flags = flags | bit if regs[name] else flags & ~bit
    program = b"\xa2" + word(STACK) + b"\x9a\xe2\x20\xa9\0\x48\xf4" + word(RETURN - 1) + b"\xa9"
    program += bytes([regs.get("db", 0)]) + b"\x48\xab\xc2\x20\xa9" + word(regs.get("d", 0)) + b"\x5b\xe2\x20\xa9"
    program += bytes([flags]) + b"\x48\xc2\x30\xa2" + word(regs.get("x", 0)) + b"\xa0" + word(regs.get("y", 0))
    return program + b"\xa9" + word(regs.get("a", 0)) + b"\x28\x5c" + long(0x8000)


def _tail(mark):
    def save(offset):
        return b"\x8f" + long(RECORD + offset)

    return (
        b"\x08\xc2\x30" + save(0) + b"\x8a" + save(2) + b"\x98" + save(4) + b"\x3b" + save(6) + b"\x7b" + save(8)
        + b"\xe2\x20\x68" + save(10) + b"\x8b\x68" + save(11) + b"\xa9" + bytes([mark]) + save(15) + b"\x80\xfe"
    )  # fmt: skip


def _header(image):
    image[at(0xFFC0) : at(0xFFD5)] = b"HAFS".ljust(21)
    image[at(0xFFD5) : at(0xFFE0)] = bytes([0x20, 0x02, 10, 3, 1, 0x33, 0, 0, 0, 0, 0])
    for vector in (0xFFE4, 0xFFE6, 0xFFE8, 0xFFEA, 0xFFEE, 0xFFF4, 0xFFFA, 0xFFFE):
        image[at(vector) : at(vector) + 2] = word(CRASH)
    image[at(0xFFFC) : at(0xFFFE)] = word(ENTRY)
    total = sum(image) + 0x1FE & 0xFFFF
    image[at(0xFFDC) : at(0xFFE0)] = word(total ^ 0xFFFF) + word(total)


class _Game(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("meta", ctypes.c_char_p),
    )


class Core:
    """One libretro core, through ctypes."""

    def __init__(self, path=PATH):
        c, self.lib = ctypes, ctypes.CDLL(str(path))
        self.folder = c.create_string_buffer(b"/nonexistent")
        kinds = {
            "environment": c.CFUNCTYPE(c.c_bool, c.c_uint, c.c_void_p)(self._environment),
            "video_refresh": c.CFUNCTYPE(None, c.c_void_p, c.c_uint, c.c_uint, c.c_size_t)(lambda *_: None),
            "audio_sample": c.CFUNCTYPE(None, c.c_int16, c.c_int16)(lambda *_: None),
            "audio_sample_batch": c.CFUNCTYPE(c.c_size_t, c.c_void_p, c.c_size_t)(lambda _, count: count),
            "input_poll": c.CFUNCTYPE(None)(lambda: None),
            "input_state": c.CFUNCTYPE(c.c_int16, c.c_uint, c.c_uint, c.c_uint, c.c_uint)(lambda *_: 0),
        }
        self.kept = kinds
        for name, function in kinds.items():
            getattr(self.lib, f"retro_set_{name}")(function)
        self.lib.retro_init()
        self.lib.retro_get_memory_data.restype = c.c_void_p
        self.lib.retro_get_memory_size.restype = c.c_size_t
        self.lib.retro_load_game.restype = c.c_bool
        self.loaded = False

    def _environment(self, command, data):
        command &= 0xFFFF
        if command in (9, 31) and data:  # the folders for system files and saves
            ctypes.cast(data, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.cast(self.folder, ctypes.c_void_p).value
            return True
        return command == 10  # any pixel format

    def memory(self, kind):
        size, place = self.lib.retro_get_memory_size(kind), self.lib.retro_get_memory_data(kind)
        return ctypes.string_at(place, size) if place and size else b""

    def run(self, image, frames=20):
        """Registers, work RAM (`wram`), `vram` and `sram` after a run; `done` is 0 where it did not end."""
        if self.loaded:
            self.lib.retro_unload_game()
        self.buffer = ctypes.create_string_buffer(image, len(image))
        game = _Game(b"x.sfc", ctypes.cast(self.buffer, ctypes.c_void_p).value, len(image), None)
        assert self.lib.retro_load_game(ctypes.byref(game))
        self.loaded = True
        for kind in (0, 2, 3):
            if place := self.lib.retro_get_memory_data(kind):
                ctypes.memset(place, 0, self.lib.retro_get_memory_size(kind))
        record = b"\0" * 16
        for _ in range(frames):
            self.lib.retro_run()
            record = self.memory(0)[RECORD & 0x1FFF :][:16]
            if record[15] in (DONE, CRASHED):
                break
        a, x, y, s, d = struct.unpack("<5H", record[:10])
        found = {"done": record[15], "a": a, "x": x, "y": y, "s": s + 1, "d": d, "p": record[10], "db": record[11]}
        return found | {"wram": self.memory(2), "vram": self.memory(3), "sram": self.memory(0)}
