"""Recognizes out-of-memory errors by the messages of every library."""

import torch

from hafs.core.cuda_allocator import under_wsl2

_SAYS_SO = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cublas_status_not_initialized",  # what cuBLAS says when its workspace cannot be allocated
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
    "cusparse_status_insufficient_resources",
    "cannot allocate memory",
    "can't allocate memory",
    "defaultcpuallocator: not enough memory",
    "mps backend out of memory",
    "hiperroroutofmemory",
    "hipblas_status_alloc_failed",
    "rocblas_status_memory_error",
    "miopenstatusallocfailed",
    "failed to allocate",
)


_SAYS_SO_UNDER_WSL2 = ("device not ready",)
"""What CUDA says there when Windows cannot make memory resident (github.com/microsoft/WSL/issues/41176)."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that device or host memory ran out."""
    words = _SAYS_SO + (_SAYS_SO_UNDER_WSL2 if under_wsl2() else ())
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason(error: BaseException) -> str:
    """The first line of the allocator's message."""
    return (str(error) or type(error).__name__).splitlines()[0]


def free_cache() -> None:
    """Return the allocator's cached memory to the device."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
