"""The memory side of the tiny SNES: work RAM mirrors, the arithmetic unit, the PPU ports and DMA."""

from collections.abc import Mapping

VRAM = 0x1000000
"""Byte addresses of video RAM in `Bus.peek`, so that a check can name them beside 24-bit addresses."""
CGRAM = 0x2000000
OAM = 0x3000000

DMA_PATTERNS = ((0,), (0, 1), (0, 0), (0, 0, 1, 1), (0, 1, 2, 3))
MULTIPLY_CYCLES, DIVIDE_CYCLES = 8, 16


class Bus:
    """A 24-bit address space that counts its accesses, so that a result read too early is wrong here as well."""

    def __init__(self, ports: Mapping[int, tuple[int, ...]] | None = None) -> None:
        self.cells: dict[int, int] = {}
        self.clock = 0
        self._ports = {address: list(values) for address, values in (ports or {}).items()}
        self._ready = 0
        self._latch = 0
        self._cgram = self._oam = 0

    @staticmethod
    def home(address: int) -> int:
        """The one address that stands for all mirrors of `address`."""
        if address >= VRAM:
            return address
        bank, low = address >> 16 & 0xFF, address & 0xFFFF
        if bank & 0x7F < 0x40:
            if low < 0x2000:
                return 0x7E0000 + low
            return (0 if low < 0x8000 else bank & 0x7F) << 16 | low
        return bank << 16 | low

    def peek(self, address: int) -> int:
        """The byte stored at an address, without the side effects of a read."""
        return self.cells.get(self.home(address), 0)

    def poke(self, address: int, value: int) -> None:
        """Store a byte without the side effects of a write."""
        self.cells[self.home(address)] = value & 0xFF

    def read(self, address: int) -> int:
        """One CPU read."""
        self.clock += 1
        home = self.home(address)
        if home in self._ports:
            queue = self._ports[home]
            return queue.pop(0) if len(queue) > 1 else queue[0]
        if 0x4214 <= home <= 0x4217 and self.clock < self._ready:
            return 0xA5
        if home == 0x2180:
            return self.peek(self._wram_step())
        return self.cells.get(home, 0)

    def write(self, address: int, value: int) -> None:
        """One CPU write."""
        self.clock += 1
        home = self.home(address)
        self.cells[home] = value
        if home < 0x10000 and 0x2000 <= home < 0x6000:
            self._port(home, value)

    def _word(self, address: int) -> int:
        return self.peek(address) | self.peek(address + 1) << 8

    def _set_word(self, address: int, value: int) -> None:
        self.poke(address, value)
        self.poke(address + 1, value >> 8)

    def _port(self, home: int, value: int) -> None:
        actions = {
            0x2102: self._oam_address, 0x2103: self._oam_address, 0x2104: self._oam_data, 0x2118: self._vram_data,
            0x2119: self._vram_data, 0x2121: self._cgram_address, 0x2122: self._cgram_data, 0x2180: self._wram_data,
            0x4203: self._multiply, 0x4206: self._divide, 0x420B: self._dma,
        }  # fmt: skip
        if home in actions:
            actions[home](home, value)

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
        self.poke(self._wram_step(), value)

    def _cgram_address(self, _home: int, value: int) -> None:
        self._cgram = value * 2

    def _cgram_data(self, _home: int, value: int) -> None:
        self.poke(CGRAM + self._cgram % 512, value)
        self._cgram += 1

    def _oam_address(self, _home: int, _value: int) -> None:
        self._oam = (self._word(0x2102) & 0x1FF) * 2

    def _oam_data(self, _home: int, value: int) -> None:
        self.poke(OAM + self._oam % 544, value)
        self._oam += 1

    def _vram_data(self, home: int, value: int) -> None:
        word = self._word(0x2116)
        self.poke(VRAM + (word * 2 + home - 0x2118) % 0x10000, value)
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
            port = 0x2100 + self.peek(base + 1) + pattern[index % len(pattern)]
            if mode & 0x80:
                self.poke(bank | source, self.read(port))
            else:
                self.write(port, self.peek(bank | source))
            source = source + step & 0xFFFF
        self._set_word(base + 2, source)
        self._set_word(base + 5, 0)
