"""The error of a call; its kind decides what happens next."""

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
class ProviderError(Exception):
    """A call without a complete answer.

    rate_limited     too many requests; the model backs off for `retry_after` seconds
    quota_exhausted  nothing left until the quota resets: no retry, the account backs off
    busy             too many concurrent calls on the account; over in a moment
    unauthorized     the key is missing, wrong or not allowed; the account backs off
    overloaded       a server error (5xx); the model backs off
    unreachable      no connection, or it broke before the answer began
    timeout          no first token, or no complete answer, in time
    cut              the answer broke off, or ended without a finish_reason
    empty            the answer is empty
    malformed        the response is not an answer: HTML, incomplete JSON, another format
    too_long         more tokens than the context length
    rejected         the host rejects this request (4xx); another may accept it
    filtered         the host's content filter withheld the answer
    unsent           an error on our side before anything was sent; says nothing about the host
    unjoined         asked to continue a broken answer, it did not mark where it continues
    failed           anything else
    """

    kind: Kind
    said: str
    """The host's message, one line, without secrets."""
    retry_after: float | None = None
    """Seconds until the host accepts requests again; None: it did not say."""
    status: int | None = None
    """HTTP status, if there was one."""
    partial: str = field(default="", repr=False)
    """Text received before the error."""

    def __post_init__(self) -> None:
        super().__init__(self.said)

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.said}"
