import pytest
import torch

from hafs.modeling.out_of_memory import is_out_of_memory

REAL = [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 15.77 GiB",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "HIP out of memory. Tried to allocate 2.00 GiB",
    "HIP error: hipErrorOutOfMemory",
    "MPS backend out of memory (MPS allocated: 5.05 GB, other allocations: 2.29 GB, max allowed: 6.80 GB)",
    "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 154140672 bytes. Error code 12",
    "NCCL error: unhandled cuda error, Cuda failure 'out of memory'",
    "rocBLAS error: rocblas_status_memory_error",
]
OTHERS = [
    "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0",
    "CUDA error: device-side assert triggered",
    "CUDA error: an illegal memory access was encountered",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "expected scalar type Float but found BFloat16",
    "DataLoader worker (pid 12) is killed by signal: Killed",
    "CUDA error: invalid device ordinal",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`",
    "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
    "cuDNN error: CUDNN_STATUS_BAD_PARAM",
    "NCCL error: unhandled system error, remote process exited or there was a network error",
    "index 51200 is out of bounds for dimension 0 with size 49152",
    "view size is not compatible with input tensor's size and stride",
    "Trying to backward through the graph a second time",
    "element 0 of tensors does not require grad and does not have a grad_fn",
    "HIP error: invalid argument",
    "HIP error: hipErrorNoBinaryForGpu",
    "mat1 and mat2 shapes cannot be multiplied (4x8 and 16x4)",
    "[Errno 28] No space left on device",
    "The memory format is not supported: channels_last needs 4 dimensions",
]


@pytest.mark.parametrize("message", REAL)
def test_the_words_of_every_library_are_known(message):
    assert is_out_of_memory(RuntimeError(message))


@pytest.mark.parametrize("message", OTHERS)
def test_other_errors_are_not_taken_for_it(message):
    assert not is_out_of_memory(RuntimeError(message))


def test_types_that_say_so_count_and_so_do_their_wrappers():
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    wrapper = ValueError("a step failed")
    wrapper.__cause__ = RuntimeError(REAL[0])
    assert is_out_of_memory(wrapper)


def test_the_words_in_another_type_of_error_do_not_count():
    assert not is_out_of_memory(KeyError("out of memory"))
