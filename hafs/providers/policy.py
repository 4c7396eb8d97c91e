"""Timeouts and numbers of calls of a request: the only owner of retries and deadlines."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The limits of a request over a chain of providers, in time and calls."""

    deadline_seconds: Seconds
    """For the whole request."""
    attempt_seconds: Seconds
    """For one call while another candidate is healthy; a stream that is fast enough may continue."""
    first_token_seconds: Seconds
    """Until the first token of a stream."""
    idle_seconds: Seconds
    """Between two pieces of a stream."""
    slow_tokens_per_second: Annotated[float, Field(ge=0)]
    """A stream that is slower than this after `attempt_seconds` is abandoned for the next candidate."""
    calls: Annotated[int, Field(gt=0)]
    """Per request, over all providers."""
    calls_per_account: Annotated[int, Field(gt=0)]
    """Per request and account."""
    backoff_seconds: Seconds
    """Backoff of a model after its first failure, unless the host names a time; doubles with each further failure."""
    longest_backoff_seconds: Seconds
    """The longest backoff, unless the host names a time."""
    quota_backoff_seconds: Seconds
    """Backoff of an account whose quota is exhausted, unless the host names a reset time."""
    on_cut: Literal["continue", "restart", "error"]
    """A stream that breaks after its first content: the next candidate continues, restarts, or the error is raised."""


@cache
def shipped_policy() -> Policy:
    """The policy of `conf/policy/default.yaml`, for callers without a config."""
    import yaml

    from hafs.config import conf_folder

    values: dict[str, Any] = yaml.safe_load((conf_folder() / "policy/default.yaml").read_text(encoding="utf-8"))
    del values["_target_"]
    return Policy(**values)
