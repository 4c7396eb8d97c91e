"""Tunes glibc's malloc for training: no caches of small blocks, and a stock of tiny free blocks.

torch asks for a tensor by `posix_memalign`. glibc takes a larger block, cuts off both ends, and puts the ends into its
caches (of the thread, and its "fast bins"), where they count as used. A freed tensor between two such ends never
becomes whole, and glibc does not find it when the next one of its size is asked for. Without the caches a training run
on a CPU peaks at a fifth less, about the same each time, and as fast (docs/explanation/log.md, 2026-11-29).

What is cut off behind a tensor is a block of 48 bytes, and glibc gives it to the next request for so few: to a part of
the autograd graph in most cases. With checkpointing the tensors of a layer go and its graph stays, so the memory of the
layer remains in pieces that the next layer's tensors do not fit into. Free blocks of just that size, laid out
elsewhere, are what glibc looks at first.
"""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
CACHES_OFF = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
"""https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html"""


def restart_without_caches() -> None:
    """Restart this program with the same arguments, if its C library is glibc and malloc is not tuned yet.

    glibc reads the setting as a process begins and never again, so call this before any large work.
    If a GPU is visible, tensors are in its memory, and the program is not restarted.
    """
    said = os.environ.get(TUNABLES, "")
    if "glibc.malloc." in said or not _is_glibc() or not sys.executable or gpu_is_visible():
        return
    os.environ[TUNABLES] = f"{said}:{CACHES_OFF}".lstrip(":")
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # no memory for a new process image: continue without tuning
        return


_HIDDEN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_DRIVERS = ("dev/nvidia[0-9]*", "dev/kfd", "usr/lib/wsl/lib/libcuda.so*")


def gpu_is_visible(root: Path = Path("/")) -> bool:
    """Whether a driver offers a GPU to this process (NVIDIA, ROCm, or WSL2), as far as its files tell without torch.

    Args:
        root: Root of the file system.
    """
    if any(os.environ.get(name, "0").strip() in ("", "-1") for name in _HIDDEN):
        return False
    return any(any(root.glob(pattern)) for pattern in _DRIVERS)


TINY, BORDER = 40, 24
"""Bytes to ask for to get blocks of 48 and of 32, the smallest."""
STOCK = 32_768
"""Tiny blocks, 2.5 MiB with their borders: twice what the graph of SmolLM2's 30 layers takes."""


@cache
def stock_tiny_blocks() -> None:
    """Allocate free blocks of 48 bytes, once, each between two used blocks so that they never merge."""
    if not _is_glibc():
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [(libc.malloc(TINY), libc.malloc(BORDER))[0] for _ in range(STOCK)]
    for block in blocks:
        libc.free(block)


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError, OSError):  # the call, the name or the value does not exist
        return False
