"""The micro-batch size: the most tokens in one forward pass. It is probed, and halved when memory runs out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.modeling import out_of_memory

_Result = TypeVar("_Result")


class MicroBatchSize:
    """Maximum tokens of a packed sequence. It decides how a step is divided, never what the step learns.

    Args:
        tokens: The initial size.
        on_shrink: Called with the new size and the allocator's message.
    """

    def __init__(self, tokens: int, *, on_shrink: Callable[[int, str], None]) -> None:
        self.tokens, self.on_shrink = tokens, on_shrink
        self.found = False
        """Whether the size was probed. Later stages and resumes then skip the probe."""

    def resume(self, tokens: int) -> None:
        """Take the size from a checkpoint, or the current one if it was probed and is smaller."""
        self.tokens = min(self.tokens, tokens) if self.found else tokens
        self.found = True

    def fitting(
        self,
        samples: Sequence[Sample],
        attempt: Callable[[Sequence[Sample]], _Result],
        *,
        anywhere: Callable[[bool], bool],
        forget: Callable[[], object],
    ) -> _Result:
        """Run `attempt` until it fits in memory, halving the micro-batch size each time. The samples stay the same.

        Args:
            samples: The argument of `attempt`.
            attempt: Runs on this device without collective operations.
            anywhere: Whether a condition holds on any device. If memory ran out on one, all try again.
            forget: Clears the gradients of a failed attempt.
        """
        while True:
            reason, result = "", None
            try:
                result = attempt(samples)
            except Exception as error:
                if not out_of_memory.is_out_of_memory(error):
                    raise
                reason = out_of_memory.reason(error)
            if not anywhere(bool(reason)):
                return result  # type: ignore[return-value]
            del result
            forget()  # outside the handler: the error keeps the failed graph alive
            self.shrink(samples, reason)

    def shrink(self, samples: Sequence[Sample], reason: str) -> None:
        """Halve the micro-batch size, and return cached memory to the device.

        Args:
            samples: The step's samples; a single sample is never split.
            reason: The allocator's message; empty if memory ran out on another device.

        Raises:
            HafsError: A micro-batch already holds a single sample.
        """
        out_of_memory.free_cache()
        reason = reason or "on another device"
        lengths = [len(sample.tokens) for sample in samples]
        longest, now = max(lengths), min(self.tokens, sum(lengths))
        if now <= longest:
            raise HafsError(
                f"out of memory with a single sample of {longest} tokens: {reason}",
                hint="lower dataset.max_length or adapter.r, or set model.gradient_checkpointing=true",
            )
        self.tokens, self.found = max(longest, now // 2), True
        self.on_shrink(self.tokens, reason)
