"""Counts what a step on a fake card would do: kernels, copies to and from the host, bytes alive."""

import traceback
import weakref
from collections import Counter
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_VIEWS = (
    "device sym_size sym_stride is_contiguous dim sym_numel sym_storage_offset view _unsafe_view t transpose expand "
    "slice select unsqueeze squeeze detach as_strided permute alias split split_with_sizes unbind lift_fresh "
    "_reshape_alias"
)
_UNWRITTEN = "empty empty_like new_empty empty_strided new_empty_strided"
FREE = frozenset(f"{_VIEWS} {_UNWRITTEN}".split())
"""Operations without a kernel: views, and memory that is not written."""
GRANULE = 512
"""Bytes to which CUDA's allocator rounds up."""


class Watch(TorchDispatchMode):
    """Active in a `with`; set `phase` to tell the parts of a step apart."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = "load"
        self.kernels: Counter[tuple[str, str]] = Counter()
        """By phase and operation."""
        self.touched: Counter[str] = Counter()
        """Bytes that operations read and write, by phase."""
        self.copies: Counter[tuple[str, str]] = Counter()
        """Between host and card, by phase and the line of hafs or transformers."""
        self.on_cpu: Counter[tuple[str, str]] = Counter()
        """Operations whose tensors are all on the CPU."""
        self.peak: Counter[str] = Counter()
        """Most bytes alive, by phase."""
        self.live = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        kinds = {tensor.device.type for tensor in tensors}
        if "cuda" in kinds and name not in FREE:
            self.kernels[self.phase, name] += 1
            self.touched[self.phase] += sum(x.numel() * x.element_size() for x in tensors if x.device.type == "cuda")
            if len(kinds) > 1 and name in ("_to_copy", "copy_"):
                self.copies[self.phase, _line()] += 1
        elif kinds == {"cpu"} and name not in FREE and any(tensor.ndim for tensor in tensors):
            self.on_cpu[self.phase, name] += 1
        for tensor in tree_leaves(out):
            if isinstance(tensor, FakeTensor) and tensor.device.type == "cuda":
                self._born(tensor.untyped_storage())
        return out

    def _born(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = -(-storage.nbytes() // GRANULE) * GRANULE
        self.live += self._sizes[key]
        self.peak[self.phase] = max(self.peak[self.phase], self.live)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)

    def begin(self, phase: str) -> None:
        """Count under another name from here on."""
        self.phase = phase
        self.peak[phase] = self.live

    def of(self, counts: Counter[tuple[str, str]], *phases: str) -> Counter[str]:
        """The counts of some phases."""
        found: Counter[str] = Counter()
        for (phase, what), count in counts.items():
            if phase in phases:
                found[what] += count
        return found


def _line() -> str:
    """Where in hafs or transformers an operation comes from."""
    stack = [f for f in traceback.extract_stack() if "/hafs/" in f.filename or "/transformers/" in f.filename]
    return f"{'/'.join(stack[-1].filename.split('/')[-2:])}:{stack[-1].lineno} {stack[-1].line}" if stack else "torch"
