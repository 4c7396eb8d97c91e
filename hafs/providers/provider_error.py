"""Why a call failed, in the few kinds that decide what happens next."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal[
    "rate_limited",
    "quota_exhausted",
    "busy",
    "unauthorized",
    "overloaded",
    "unreachable",
    "timeout",
    "cut",
    "empty",
    "malformed",
    "too_long",
    "rejected",
    "filtered",
    "unsent",
    "unjoined",
    "failed",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(eq=False)
class Refused(Exception):
    """One call that gave no whole answer.

    rate_limited     asked too often; the account's model rests for `retry_after` seconds
    quota_exhausted  nothing left until the account's reset: no retry, the account rests
    busy             too many calls in flight on the account; over in a moment
    unauthorized     the key is missing, wrong or not allowed here; the account rests
    overloaded       the host's own trouble (5xx); the model rests a little
    unreachable      no connection, or it broke before an answer began
    timeout          no first token, or not the whole answer, in its time
    cut              the answer began and did not end, or ended without saying that it had
    empty            it ended, with nothing in it
    malformed        what came is not an answer: HTML, half a JSON, another shape
    too_long         more tokens than the model takes
    rejected         the host does not take this request (4xx); another may
    filtered         the host's filter withheld the answer
    unsent           our own error before anything was sent; says nothing about the host
    unjoined         asked to go on with a broken answer, it did not say where it goes on
    failed           anything else
    """

    kind: Kind
    said: str
    """The host's own words, one line, without secrets."""
    retry_after: float | None = None
    """Seconds the host asks us to stay away; None: it did not say."""
    status: int | None = None
    """HTTP status, where there was one."""
    partial: str = field(default="", repr=False)
    """Text that had come before it ended."""

    def __post_init__(self) -> None:
        super().__init__(self.said)

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.said}"
