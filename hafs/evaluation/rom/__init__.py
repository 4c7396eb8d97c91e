"""Routines for the SNES, executed: answers are assembled in a sandbox, run on a 65816, and compared with cases.

source     the code of an answer, its dialect (ca65 or asar), whether it repeats the prompt's code
toolchain  ca65 with ld65, or asar: source to bytes; sandbox: what an assembler may read, write and use up
case       registers and memory before a call and after it; machine: one run of it; cpu, bus: the chip
worker     all of that in a child process; bench: many answers concurrently in several such processes
"""
