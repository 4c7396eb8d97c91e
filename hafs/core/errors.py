"""Errors for users and their exit codes: one line says what is wrong, one line says how to fix it."""

from collections.abc import Mapping, Sequence
from typing import Any

FAILURE = "failure.json"
"""Written by a failed job of a sweep into its folder; existing files stay."""
DONE, OUR_BUG, USER_CAN_FIX, DIVERGED, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 69, 75
BY_CTRL_C = 130
"""Exit code of a command that cannot be continued; shells use this number after SIGINT."""


class HafsError(Exception):
    """An error for users: the command prints it without a traceback and exits with `exit_code`.

    Args:
        fact: What is wrong: expected and actual values, names quoted; one line.
        hint: How to fix it; one line.
    """

    exit_code = USER_CAN_FIX

    def __init__(self, fact: str, *, hint: str | None = None) -> None:
        super().__init__(fact)
        self.fact, self.hint = fact, hint

    def __str__(self) -> str:
        return f"{self.fact}\n-> {self.hint}" if self.hint else self.fact


class ConfigError(HafsError):
    """The composed config or an override is invalid."""


class InputError(HafsError):
    """The input cannot be sent to a provider: it is not text."""


class DataError(HafsError):
    """The data cannot be used for training."""


class RunError(HafsError):
    """A run folder cannot be used or continued as requested."""


class Diverged(HafsError):
    """Training diverged and every rollback was tried."""

    exit_code = DIVERGED


class GateRefused(HafsError):
    """The result is not good enough: a rule of the gate, or a check of an export, failed."""

    exit_code = REFUSED


class AllProvidersDown(HafsError):
    """No provider gave a complete answer; the fact is a line, then a table of each provider's error.

    Args:
        fact: What failed.
        attempts: All attempts, as in an answer's `response_metadata["attempts"]`.
        partial: Text that a stream returned before it broke; empty if there was none.
        causes: The kinds of all errors: those of the attempts, and why other providers were not tried.
        retry_after: Seconds until a provider can be tried again; None: unknown.
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
    """Training was stopped by a signal and saved; the same command continues it."""

    exit_code = INTERRUPTED
