"""How torch's allocator is set up for a GPU before torch is imported, and whether the GPU is that of Windows (WSL2)."""

import os
import platform
import sys
from pathlib import Path

from hafs.core.malloc_tuning import gpu_is_visible

SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
EXPANDABLE = "expandable_segments:True"


def under_wsl2(release: str | None = None) -> bool:
    """Whether this Linux runs in Windows, whose driver moves GPU memory to host memory instead of refusing more.

    Args:
        release: Of the kernel; None: of the running one.
    """
    return "microsoft" in (platform.release() if release is None else release).lower()


def use_expandable_segments(root: Path = Path("/")) -> None:
    """Let torch's allocator grow its segments, which keeps packed sequences of many lengths from fragmenting memory.

    Only with NVIDIA's driver on native Linux: under WSL2 the first allocation fails on some cards
    (github.com/pytorch/pytorch/issues/192330), ROCm and Windows have none. A setting of the environment stays.

    Args:
        root: Root of the file system.
    """
    if sys.platform != "linux" or "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return
    if gpu_is_visible(root) and any((root / "dev").glob("nvidia[0-9]*")) and not under_wsl2():
        os.environ[SETTINGS[0]] = EXPANDABLE
