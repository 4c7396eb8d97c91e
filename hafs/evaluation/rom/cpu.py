"""A 65816 interpreter in native mode: enough of the chip to run a routine and look at what it left behind."""

from hafs.evaluation.rom.bus import Bus
from hafs.evaluation.rom.opcodes import OPCODES

N, V, M, X, D, I, Z, C = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01  # noqa: E741
BRANCHES = {
    "bpl": (N, False), "bmi": (N, True), "bvc": (V, False), "bvs": (V, True),
    "bcc": (C, False), "bcs": (C, True), "bne": (Z, False), "beq": (Z, True),
}  # fmt: skip
FLAG_SETS = {"clc": (C, 0), "sec": (C, C), "cli": (I, 0), "sei": (I, I), "cld": (D, 0), "sed": (D, D), "clv": (V, 0)}
INDEX_OPS = frozenset(("ldx", "ldy", "stx", "sty", "cpx", "cpy"))
PUSHES = {"pha": ("a", M), "phx": ("x", X), "phy": ("y", X), "phb": ("db", -1), "phk": ("pb", -1), "phd": ("d", 0)}
PULLS = {"pla": ("a", M), "plx": ("x", X), "ply": ("y", X), "plb": ("db", -1), "pld": ("d", 0)}
TRANSFERS = {
    "tax": ("a", "x", X), "tay": ("a", "y", X), "txa": ("x", "a", M), "tya": ("y", "a", M), "txy": ("x", "y", X),
    "tyx": ("y", "x", X), "tsx": ("s", "x", X), "tcd": ("a", "d", 0), "tdc": ("d", "a", 0), "tsc": ("s", "a", 0),
}  # fmt: skip


class CrashError(Exception):
    """The routine ran into an instruction that ends it, such as brk, or did not end."""


class Cpu:
    """Registers, flags and one method per kind of instruction. `p` holds the flags as the chip packs them."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.a = self.x = self.y = self.d = self.db = self.pb = 0
        self.s, self.pc, self.p = 0x1FF, 0x8000, M | X | I
        self.opcode = 0

    def flag(self, mask: int, on: object) -> None:
        """Set or clear the flags in `mask`."""
        self.p = self.p | mask if on else self.p & ~mask

    def size(self, mask: int) -> int:
        """Bytes of the accumulator (M) or the index registers (X); 0 means always 16 bits, -1 always 8."""
        return 2 if mask == 0 else 1 if mask == -1 or self.p & mask else 2

    def fetch(self, count: int) -> int:
        """The next `count` bytes of the program as a number."""
        value = 0
        for index in range(count):
            value |= self.bus.fetch(self.pb << 16 | self.pc) << 8 * index
            self.pc = self.pc + 1 & 0xFFFF
        return value

    def load(self, address: int, count: int, wrap: int = 0xFFFFFF) -> int:
        """`count` bytes at an address as a number."""
        return sum(self.bus.read(address + index & wrap) << 8 * index for index in range(count))

    def store(self, address: int, value: int, count: int) -> None:
        """Write a number as `count` bytes."""
        for index in range(count):
            self.bus.write(address + index & 0xFFFFFF, value >> 8 * index & 0xFF)

    def push(self, value: int, count: int) -> None:
        """Push `count` bytes, the high one first."""
        for index in reversed(range(count)):
            self.bus.write(self.s, value >> 8 * index & 0xFF)
            self.s = self.s - 1 & 0xFFFF

    def pull(self, count: int) -> int:
        """Pull `count` bytes."""
        value = 0
        for index in range(count):
            self.s = self.s + 1 & 0xFFFF
            value |= self.bus.read(self.s) << 8 * index
        return value

    def _set(self, name: str, value: int, size: int) -> None:
        keep = self.a & 0xFF00 if name == "a" and size == 1 else 0
        value &= 0xFF if size == 1 else 0xFFFF
        setattr(self, name, value | keep)
        self._nz(value, size)

    def _nz(self, value: int, size: int) -> None:
        self.flag(N, value & (0x80 if size == 1 else 0x8000))
        self.flag(Z, not value & (0xFF if size == 1 else 0xFFFF))

    def step(self) -> None:
        """Run one instruction."""
        start = self.bus.clock
        self.opcode = self.fetch(1)
        name, mode = OPCODES[self.opcode]
        self._execute(name, mode)
        if self.bus.clock - start < 2:
            self.bus.clock = start + 2

    def _execute(self, name: str, mode: str) -> None:
        if mode == "imp":
            self._implied(name)
        elif mode == "move":
            self._move(1 if name == "mvn" else -1)
        elif name in ("rep", "sep"):
            self._widths(name, self.fetch(1))
        elif name in BRANCHES or name in ("bra", "brl", "per"):
            self._branch(name, mode)
        elif name in ("jmp", "jml", "jsr", "jsl"):
            self._jump(name, mode)
        elif name == "pea":
            self.push(self.fetch(2), 2)
        elif name == "pei":
            self.push(self.load(self.d + self.fetch(1) & 0xFFFF, 2), 2)
        elif name in ("brk", "cop", "wdm"):
            raise CrashError(f"{name} at ${self.pc - 1:04X}")
        else:
            self._data(name, mode)

    def _widths(self, name: str, mask: int) -> None:
        self.flag(mask, name == "sep")
        if self.p & X:
            self.x &= 0xFF
            self.y &= 0xFF

    def _branch(self, name: str, mode: str) -> None:
        bits = 16 if mode == "rel16" else 8
        offset = self.fetch(bits // 8)
        target = self.pc + offset - (offset >> bits - 1 << bits) & 0xFFFF
        if name == "per":
            self.push(target, 2)
        elif name not in BRANCHES or bool(self.p & BRANCHES[name][0]) == BRANCHES[name][1]:
            self.pc = target

    def _jump(self, name: str, mode: str) -> None:
        operand = self.fetch(3 if mode == "long" else 2)
        if name == "jsr":
            self.push(self.pc - 1, 2)
        elif name == "jsl":
            self.push(self.pb, 1)
            self.push(self.pc - 1, 2)
        if mode == "absi":
            operand = self.load(operand, 2)
        elif mode == "absxi":
            operand = self.load(self.pb << 16 | (operand + self.x & 0xFFFF), 2)
        elif mode == "absil":
            operand = self.load(operand, 3)
        if mode in ("long", "absil"):
            self.pb = operand >> 16
        self.pc = operand & 0xFFFF

    def _move(self, step: int) -> None:
        operands = self.fetch(2)
        self.db = operands & 0xFF
        mask = 0xFF if self.p & X else 0xFFFF
        while True:
            self.bus.write(self.db << 16 | self.y, self.bus.read(operands >> 8 << 16 | self.x))
            self.x, self.y, self.a = self.x + step & mask, self.y + step & mask, self.a - 1 & 0xFFFF
            if self.a == 0xFFFF:
                return

    def _implied(self, name: str) -> None:
        if name in FLAG_SETS:
            mask, value = FLAG_SETS[name]
            self.p = self.p & ~mask | value
        elif name in TRANSFERS:
            source, target, mask = TRANSFERS[name]
            self._set(target, getattr(self, source), self.size(mask))
        elif name in PUSHES:
            source, mask = PUSHES[name]
            self.push(getattr(self, source), self.size(mask))
        elif name in PULLS:
            target, mask = PULLS[name]
            self._set(target, self.pull(self.size(mask)), self.size(mask))
        elif name in ("inx", "iny", "dex", "dey"):
            register = name[2]
            self._set(register, getattr(self, register) + (1 if name[0] == "i" else -1), self.size(X))
        else:
            self._odd(name)

    def _odd(self, name: str) -> None:
        if name == "rts":
            self.pc = self.pull(2) + 1 & 0xFFFF
        elif name == "rtl":
            self.pc = self.pull(2) + 1 & 0xFFFF
            self.pb = self.pull(1)
        elif name == "php":
            self.push(self.p, 1)
        elif name == "plp":
            self.p = self.pull(1)
            self._widths("sep", 0)
        elif name == "xba":
            self.a = self.a >> 8 | (self.a & 0xFF) << 8
            self._nz(self.a & 0xFF, 1)
        elif name == "tcs":
            self.s = self.a
        elif name == "txs":
            self.s = self.x
        elif name != "nop":
            raise CrashError(f"{name} is not modelled")

    def _address(self, mode: str) -> int:
        if mode.startswith("long"):
            return self.fetch(3) + (self.x if mode == "longx" else 0) & 0xFFFFFF
        if mode.startswith("abs"):
            index = {"absx": self.x, "absy": self.y}.get(mode, 0)
            return (self.db << 16 | self.fetch(2)) + index & 0xFFFFFF
        offset = self.fetch(1)
        if mode.startswith("sr"):
            if mode == "sr":
                return self.s + offset & 0xFFFF
            return (self.db << 16 | self.load(self.s + offset & 0xFFFF, 2)) + self.y & 0xFFFFFF
        direct = self.d + offset + {"dpx": self.x, "dpy": self.y, "dxi": self.x}.get(mode, 0) & 0xFFFF
        if mode in ("dp", "dpx", "dpy"):
            return direct
        base = self.load(direct, 3) if mode.startswith("dil") else self.db << 16 | self.load(direct, 2)
        return base + (self.y if mode in ("diy", "dily") else 0) & 0xFFFFFF

    def _data(self, name: str, mode: str) -> None:
        size = self.size(X if name in INDEX_OPS else M)
        if mode == "acc":
            self._set("a", self._modify(name, self.a & (0xFF if size == 1 else 0xFFFF), size), size)
        elif mode in ("imm", "immx"):
            self._read(name, self.fetch(size), size, immediate=True)
        else:
            address = self._address(mode)
            if name in ("sta", "stx", "sty", "stz"):
                self.store(address, 0 if name == "stz" else getattr(self, name[2]), size)
            elif name in ("asl", "lsr", "rol", "ror", "inc", "dec", "tsb", "trb"):
                value = self._modify(name, self.load(address, size), size)
                self.store(address, value, size)
            else:
                self._read(name, self.load(address, size), size, immediate=False)

    def _modify(self, name: str, value: int, size: int) -> int:
        bits = 8 * size
        mask, top, carry = (1 << bits) - 1, 1 << bits - 1, self.p & C
        if name in ("tsb", "trb"):
            self.flag(Z, not value & self.a & mask)
            return value | self.a & mask if name == "tsb" else value & ~self.a & mask
        if name in ("asl", "rol"):
            self.flag(C, value & top)
            value = value << 1 | (carry if name == "rol" else 0)
        elif name in ("lsr", "ror"):
            self.flag(C, value & 1)
            value = value >> 1 | (carry << bits - 1 if name == "ror" else 0)
        else:
            value += 1 if name == "inc" else -1
        self._nz(value & mask, size)
        return value & mask

    def _read(self, name: str, value: int, size: int, *, immediate: bool) -> None:
        mask = 0xFF if size == 1 else 0xFFFF
        if name in ("lda", "ldx", "ldy"):
            self._set(name[2], value, size)
        elif name in ("and", "ora", "eor"):
            result = {"and": self.a & value, "ora": self.a | value, "eor": self.a ^ value}[name]
            self._set("a", result & mask, size)
        elif name in ("cmp", "cpx", "cpy"):
            register = getattr(self, {"cmp": "a", "cpx": "x", "cpy": "y"}[name]) & mask
            self.flag(C, register >= value)
            self._nz(register - value & mask, size)
        elif name == "bit":
            self.flag(Z, not self.a & value & mask)
            if not immediate:
                self.flag(N, value & (mask + 1) >> 1)
                self.flag(V, value & (mask + 1) >> 2)
        else:
            self._add(value if name == "adc" else value ^ mask, size, subtract=name == "sbc")

    def _add(self, value: int, size: int, *, subtract: bool) -> None:
        """adc, and sbc with `value` inverted."""
        bits = 8 * size
        mask, left, carry = (1 << bits) - 1, self.a & (1 << bits) - 1, self.p & C
        total = plain = left + value + carry
        if self.p & D:
            total, plain = _decimal(left, value, carry, bits, subtract=subtract)
        self.flag(V, ~(left ^ value) & (left ^ plain) & 1 << bits - 1)
        self.flag(C, total > mask)
        self._set("a", total & mask, size)


def _decimal(left: int, right: int, carry: int, bits: int, *, subtract: bool) -> tuple[int, int]:
    """A decimal sum digit by digit with its carry on top, and the sum that V is taken from.

    As on the chip, V looks at the highest digit before it is corrected. For sbc, `right` is inverted.
    """
    total = plain = 0
    for shift in range(0, bits, 4):
        digit = (left >> shift & 15) + (right >> shift & 15) + carry
        plain = total | digit << shift
        if subtract:
            carry, digit = int(digit > 15), digit - 6 * (digit <= 15)
        else:
            digit += 6 * (digit > 9)
            carry = int(digit > 15)
        total |= (digit & 15) << shift
    return total | carry << bits, plain
