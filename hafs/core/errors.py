"""What went wrong, said so that its reader can act: one line of fact, one line of hint."""

from collections.abc import Mapping, Sequence
from typing import Any

FAILURE = "failure.json"
"""What a failed job of a sweep leaves in its folder; what was there before stays."""
DONE, OUR_BUG, USER_CAN_FIX, DIVERGED, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 69, 75
BY_CTRL_C = 130
"""Of a command that has nothing to continue; the number that shells give a program that SIGINT ended."""


class HafsError(Exception):
    """An error for people: the command prints it without a traceback and leaves with `exit_code`.

    Args:
        fact: What is wrong, what was expected and what was got, names quoted; one line.
        hint: What to do about it; one line.
    """

    exit_code = USER_CAN_FIX

    def __init__(self, fact: str, *, hint: str | None = None) -> None:
        super().__init__(fact)
        self.fact, self.hint = fact, hint

    def __str__(self) -> str:
        return f"{self.fact}\n-> {self.hint}" if self.hint else self.fact


class ConfigError(HafsError):
    """The composed config, or a word on the command line, cannot mean what was typed."""


class InputError(HafsError):
    """What was asked can be sent to nobody: it is no text."""


class DataError(HafsError):
    """The data cannot be trained on as it is."""


class RunError(HafsError):
    """A run folder cannot be used or continued as asked."""


class Diverged(HafsError):
    """Training ran away and every way back was tried."""

    exit_code = DIVERGED


class GateRefused(HafsError):
    """What was made is not good enough to be used: a rule of the gate, or a check of an export, does not hold."""

    exit_code = REFUSED


class AllProvidersDown(HafsError):
    """Nobody gave a whole answer; the fact is a line, then a table of what each said.

    Args:
        fact: What was asked for in vain.
        attempts: What was tried, as in an answer's `response_metadata["attempts"]`.
        partial: Text that a stream had given before it broke; empty when none had.
        causes: The kinds of all refusals: those of the attempts, and why others were not asked.
        retry_after: Seconds until one of the providers can be asked again; None: that is not known.
    """

    exit_code = UNAVAILABLE

    def __init__(
        self,
        fact: str,
        *,
        attempts: Sequence[Mapping[str, Any]] = (),
        partial: str = "",
        hint: str | None = None,
        causes: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(fact, hint=hint or "hafs providers shows who could answer")
        self.attempts, self.partial = list(attempts), partial
        self.causes, self.retry_after = tuple(causes), retry_after


class Interrupted(HafsError):
    """Training was stopped from outside, saved, and the same command continues it."""

    exit_code = INTERRUPTED
