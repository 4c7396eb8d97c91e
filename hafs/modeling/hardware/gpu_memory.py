"""The GPU memory that this process may use: what is free, minus a reserve, enforced by torch's allocator."""

from typing import TYPE_CHECKING

from hafs.core.cuda_allocator import under_wsl2

if TYPE_CHECKING:
    import torch

RESERVE_BYTES = 256 << 20
"""Left to the desktop and to what libraries allocate beside torch."""
WSL2_RESERVE_BYTES = 1 << 30
"""The same under WSL2: Windows moves memory of this process to host memory when its own programs want more."""


def allowance(free: int, held: int, *, wsl2: bool) -> int:
    """Bytes that torch's allocator may hold.

    Args:
        free: What the driver reports as free.
        held: What the allocator holds already, which is not free.
        wsl2: Whether the driver is that of Windows.
    """
    return max(0, free + held - (WSL2_RESERVE_BYTES if wsl2 else RESERVE_BYTES))


def limit_memory(on: "torch.device") -> int | None:
    """Make the allocator raise out-of-memory at the allowance, before a driver spills into host memory.

    Returns:
        The allowance in bytes; None if `on` is no CUDA device, or its driver does not tell what is free.
    """
    import torch

    if on.type != "cuda":
        return None
    try:
        free, total = torch.cuda.mem_get_info(on)
        allowed = allowance(free, torch.cuda.memory_reserved(on), wsl2=under_wsl2())
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), on)
    except RuntimeError:
        return None
    return allowed


def spare_bytes(on: "torch.device") -> int | None:
    """Bytes that this process can still allocate on a device; None where it is not known."""
    import psutil
    import torch

    try:
        if on.type == "cuda":
            allowed = limit_memory(on)
            return None if allowed is None else max(0, allowed - torch.cuda.memory_allocated(on))
        if on.type == "mps":
            return max(0, torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    except RuntimeError:
        return None
    return psutil.virtual_memory().available if on.type == "cpu" else None
