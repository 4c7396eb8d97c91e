"""The 65816 machine on which every routine of the samples is run: hafs' own, which also scores answers."""

from hafs.evaluation.rom.bus import CGRAM, OAM, SCROLL, VRAM, Bus, Screen
from hafs.evaluation.rom.case import RomCase as Run
from hafs.evaluation.rom.cpu import Cpu, CrashError, M, X
from hafs.evaluation.rom.machine import failures

__all__ = ["CGRAM", "OAM", "SCROLL", "VRAM", "Bus", "Cpu", "CrashError", "M", "Run", "Screen", "X", "failures"]
