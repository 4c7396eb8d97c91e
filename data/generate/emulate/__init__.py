"""A tiny SNES: a 65816 interpreter with the memory map, arithmetic unit, PPU ports and DMA that the samples touch."""

from .bus import CGRAM, OAM, VRAM, Bus
from .cpu import Cpu, CrashError, M, X
from .run import Run, failures

__all__ = ["CGRAM", "OAM", "VRAM", "Bus", "Cpu", "CrashError", "M", "Run", "X", "failures"]
