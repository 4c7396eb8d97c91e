"""The memory side of the tiny SNES: work RAM and its mirrors, ROM, the arithmetic unit, the video ports and DMA."""

from collections.abc import Mapping
from typing import Literal

VRAM = 0x1000000
"""Byte addresses of video RAM in `Bus.peek`, so that a check can name them beside 24-bit addresses."""
CGRAM = 0x2000000
OAM = 0x3000000
SCROLL = 0x4000000
"""Two bytes per port of $210D-$2114, which take the low byte and then the high byte at one address."""

DMA_PATTERNS = ((0,), (0, 1), (0, 0), (0, 0, 1, 1), (0, 1, 2, 3), (0, 1, 0, 1), (0, 0), (0, 0, 1, 1))
MULTIPLY_CYCLES, DIVIDE_CYCLES = 8, 16
FRAME, VBLANK = 44_671, 6_479
"""Accesses per frame and per vertical blank, at 8 master cycles each: 262 and 38 lines of 1,364."""
GOLDEN = 0x9E3779B1

Screen = Literal["on", "vblank", "off"]
"""When a routine is called: while a picture is drawn, at the start of vertical blank, or in forced blank."""


class Bus:
    """A 24-bit address space that counts its accesses, so that a result read too early is wrong here as well.

    A cell that nothing was stored at reads as noise that the seed determines. ROM keeps its bytes. Video RAM, palette
    and sprite table take a write in forced blank and in vertical blank only.
    """

    def __init__(
        self, ports: Mapping[int, tuple[int, ...]] | None = None, *, seed: int = 0, screen: Screen = "off",
        image: bytes = b"",
    ) -> None:  # fmt: skip
        self.cells: dict[int, int] = {}
        self.clock = 0
        self.lost = 0
        """How many writes the video chip refused."""
        self.rom_writes: list[int] = []
        self.reads: set[int] = set()
        """Cells of ROM, and cells that nothing was stored at, that instructions read as data."""
        self.image = image
        """LoROM; empty: ROM holds only what is stored in it."""
        self.written: set[int] = set()
        self._seed = seed
        self._start = 0 if screen == "vblank" else VBLANK
        self._ports = {address: list(values) for address, values in (ports or {}).items()}
        self._ready = 0
        self._cgram = self._oam = self._scrolled = 0
        self._actions = {
            0x2102: self._oam_address, 0x2103: self._oam_address, 0x2104: self._oam_data, 0x2118: self._vram_data,
            0x2119: self._vram_data, 0x2121: self._cgram_address, 0x2122: self._cgram_data, 0x2180: self._wram_data,
            0x4203: self._multiply, 0x4206: self._divide, 0x420B: self._dma,
            **dict.fromkeys(range(0x210D, 0x2115), self._scroll),
        }  # fmt: skip
        self.cells[0x2100] = 0x80 if screen == "off" else 0x0F

    @staticmethod
    def home(address: int) -> int:
        """The one address that stands for all mirrors of `address`."""
        if address >= VRAM:
            return address
        low = address & 0xFFFF
        if address & 0x7F0000 < 0x400000:
            if low < 0x2000:
                return 0x7E0000 | low
            return low if low < 0x8000 else address & 0x7FFFFF
        return address

    def noise(self, home: int) -> int:
        """What a cell holds that nothing was stored at: the image's byte, or noise."""
        if self.image and 0x8000 <= home < 0x7E0000 and home & 0x8000:
            return self.image[((home >> 16) * 0x8000 + (home & 0x7FFF)) % len(self.image)]
        mixed = (home ^ self._seed) * GOLDEN & 0xFFFFFFFF
        return (mixed >> 24 ^ mixed >> 13) & 0xFF if self._seed else 0

    def peek(self, address: int) -> int:
        """The byte stored at an address, without the side effects of a read."""
        home = self.home(address)
        found = self.cells.get(home)
        return self.noise(home) if found is None else found

    def poke(self, address: int, value: int) -> None:
        """Store a byte without the side effects of a write."""
        self.cells[self.home(address)] = value & 0xFF

    def fetch(self, address: int) -> int:
        """One read of a byte of the program."""
        self.clock += 1
        return self.peek(address)

    def read(self, address: int) -> int:
        """One CPU read of data."""
        self.clock += 1
        home = self.home(address)
        if 0x2000 <= home < 0x6000:
            return self._port_read(home)
        found = self.cells.get(home)
        if found is None or 0x8000 <= home < 0x7E0000:
            self.reads.add(home)
        return self.noise(home) if found is None else found

    def _port_read(self, home: int) -> int:
        if home in self._ports:
            queue = self._ports[home]
            return queue.pop(0) if len(queue) > 1 else queue[0]
        if 0x4214 <= home <= 0x4217 and self.clock < self._ready:
            return 0xA5
        if home == 0x4212:
            return 0x80 * self.in_vblank()
        if home == 0x2180:
            return self.peek(self._wram_step())
        return self.peek(home)

    def unread(self) -> int | None:
        """A port that did not give all its values yet, such as one that the routine had to wait for."""
        return next((address for address, queue in self._ports.items() if len(queue) > 1), None)

    def new_frame(self, screen: Screen) -> None:
        """Begin another frame, at the start of vertical blank or while a picture is drawn."""
        self._start = (0 if screen == "vblank" else VBLANK) - self.clock

    def in_vblank(self) -> bool:
        """Whether the beam is in vertical blank now."""
        return (self.clock + self._start) % FRAME < VBLANK

    def _takes_video(self) -> bool:
        """Whether video memory can be written now; a write that comes at another time is lost."""
        taken = bool(self.cells[0x2100] & 0x80) or self.in_vblank()
        self.lost += not taken
        return taken

    def write(self, address: int, value: int) -> None:
        """One CPU write."""
        self.clock += 1
        home = self.home(address)
        if home & 0x8000 and home < 0x7E0000:
            self.rom_writes.append(home)
            return
        self.cells[home] = value
        self.written.add(home)
        if home in self._actions:
            self._actions[home](home, value)

    def _word(self, address: int) -> int:
        return self.peek(address) | self.peek(address + 1) << 8

    def _set_word(self, address: int, value: int) -> None:
        self.poke(address, value)
        self.poke(address + 1, value >> 8)

    def _keep(self, cell: int, value: int) -> None:
        self.cells[cell] = value
        self.written.add(cell)

    def _multiply(self, _home: int, value: int) -> None:
        self._set_word(0x4216, self.peek(0x4202) * value)
        self._ready = self.clock + MULTIPLY_CYCLES

    def _divide(self, _home: int, value: int) -> None:
        dividend = self._word(0x4204)
        self._set_word(0x4214, dividend // value if value else 0xFFFF)
        self._set_word(0x4216, dividend % value if value else dividend)
        self._ready = self.clock + DIVIDE_CYCLES

    def _wram_step(self) -> int:
        position = self._word(0x2181) | (self.peek(0x2183) & 1) << 16
        self._set_word(0x2181, position + 1)
        self.poke(0x2183, (position + 1) >> 16 & 1)
        return 0x7E0000 + position

    def _wram_data(self, _home: int, value: int) -> None:
        self._keep(self._wram_step(), value)

    def _scroll(self, home: int, value: int) -> None:
        cell = SCROLL + 2 * (home - 0x210D)
        self._keep(cell, self._scrolled)
        self._keep(cell + 1, value)
        self._scrolled = value

    def _cgram_address(self, _home: int, value: int) -> None:
        self._cgram = value * 2

    def _cgram_data(self, _home: int, value: int) -> None:
        if self._takes_video():
            self._keep(CGRAM + self._cgram % 512, value)
        self._cgram += 1

    def _oam_address(self, _home: int, _value: int) -> None:
        self._oam = (self._word(0x2102) & 0x1FF) * 2

    def _oam_data(self, _home: int, value: int) -> None:
        if self._takes_video():
            self._keep(OAM + self._oam % 544, value)
        self._oam += 1

    def _vram_data(self, home: int, value: int) -> None:
        word = self._word(0x2116)
        if self._takes_video():
            self._keep(VRAM + (word * 2 + home - 0x2118) % 0x10000, value)
        mode = self.peek(0x2115)
        if (home == 0x2119) == bool(mode & 0x80):
            self._set_word(0x2116, word + (1, 32, 128, 128)[mode & 3])

    def _dma(self, _home: int, channels: int) -> None:
        for channel in range(8):
            if channels >> channel & 1:
                self._transfer(0x4300 + channel * 16)

    def _transfer(self, base: int) -> None:
        mode = self.peek(base)
        pattern = DMA_PATTERNS[mode & 7]
        step = 0 if mode & 8 else -1 if mode & 0x10 else 1
        source, bank = self._word(base + 2), self.peek(base + 4) << 16
        count = self._word(base + 5) or 0x10000
        for index in range(count):
            port = 0x2100 + (self.peek(base + 1) + pattern[index % len(pattern)] & 0xFF)
            if mode & 0x80:
                self.poke(bank | source, self.read(port))
            else:
                self.write(port, self.peek(bank | source))
            source = source + step & 0xFFFF
        self._set_word(base + 2, source)
        self._set_word(base + 5, 0)
