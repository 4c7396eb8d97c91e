"""Seeded choices: hafs' own, which also invent the project of its fake editor."""

from hafs.evaluation.rom.dice import Dice

__all__ = ["Dice"]
