"""Limits for a process that handles hostile input: a few folders, some memory, files of some size, nothing else.

Landlock (Linux 5.13 and later) denies every other file to this process and to all that it starts. libc has no names
for its calls, so they are made by number; the bits are those of linux/landlock.h. The packages for it on PyPI are
development versions.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
_EXECUTE, _WRITE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
_ALL_FILES = (1 << 13) - 1
"""Every right of the first version; later versions add to it."""
_ADDED = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights by the version that brought them: refer, truncate, device control."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def why_not() -> str:
    """Why files cannot be closed off on this machine; empty where they can."""
    if not sys.platform.startswith("linux"):
        return "Landlock exists on Linux only"
    return "" if _version() > 0 else "this kernel has no Landlock (Linux 5.13 and later, unless it is switched off)"


def limit(*, memory: int, file_size: int) -> None:
    """Limit this process and what it starts, each by itself.

    Args:
        memory: Bytes of address space.
        file_size: Bytes of the longest file that may be written.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def close_off(*, read: Sequence[Path | str], write: Sequence[Path | str]) -> None:
    """Deny this process all files except these, permanently.

    Args:
        read: Files and folders that may be read and executed; missing ones are left out.
        write: Folders in which anything is allowed but execution.

    Raises:
        OSError: The kernel rejected the rules.
    """
    system = ctypes.CDLL(None, use_errno=True)
    rights = _ALL_FILES | sum(bit for version, bit in _ADDED.items() if version <= _version())
    rules = _call(system, _CREATE, ctypes.byref(_Ruleset(rights)), ctypes.sizeof(_Ruleset), 0)
    for paths, bits in ((read, _READ_FILE | _READ_FOLDER | _EXECUTE), (write, rights & ~_EXECUTE)):
        for path in filter(lambda path: Path(path).exists(), paths):
            _allow(system, rules, Path(path), bits)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call(system, _RESTRICT, rules, 0)
    os.close(rules)


def _allow(system: ctypes.CDLL, rules: int, path: Path, bits: int) -> None:
    handle = os.open(path, os.O_PATH)
    bits &= bits if path.is_dir() else _READ_FILE | _EXECUTE | _WRITE
    _call(system, _ADD, rules, 1, ctypes.byref(_Beneath(bits, handle)), 0)
    os.close(handle)


def _version() -> int:
    """The version of Landlock; -1: none."""
    return ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, 1)


def _call(system: ctypes.CDLL, number: int, *arguments: object) -> int:
    found = system.syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return found
