"""How many tokens one forward pass may hold: found by trying, halved whenever memory runs out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.modeling import out_of_memory

_Result = TypeVar("_Result")


class MicroBatchSize:
    """Tokens of a row; only the split of a step into rows depends on it, never what the step learns.

    Args:
        tokens: To begin with.
        on_shrink: Told the new size and what the allocator said.
    """

    def __init__(self, tokens: int, *, on_shrink: Callable[[int, str], None]) -> None:
        self.tokens, self.on_shrink = tokens, on_shrink
        self.found = False
        """Whether it was tried; then later stages and resumes need not try again."""

    def resume(self, tokens: int) -> None:
        """Take what an earlier process, or this one before it went back, had found; the smaller of the two."""
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
        """Try until it fits, each time with half the tokens per row; the samples stay the same.

        Args:
            samples: What `attempt` is called with.
            attempt: Works on this device alone.
            anywhere: Whether something holds on any device; if memory ran out on one, all try again.
            forget: Drops what a failed attempt has left.
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
            forget()  # outside the handler: the error holds on to the failed graph
            self.shrink(samples, reason)

    def shrink(self, samples: Sequence[Sample], reason: str) -> None:
        """Halve the tokens of a forward pass, and give freed memory back to the device.

        Args:
            samples: Of the step; the longest cannot be split.
            reason: What the allocator said; empty if it was another device's.

        Raises:
            HafsError: A row already holds no more than one sample.
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
