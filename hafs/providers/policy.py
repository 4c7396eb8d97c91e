"""How long a request may take and how often it may be tried: the one owner of retries and deadlines."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a request over a chain of providers may cost in time and calls."""

    deadline_seconds: Seconds
    """Of the whole request, whatever happens."""
    attempt_seconds: Seconds
    """Of one call while another candidate is healthy; a stream that is fast enough may go on."""
    first_token_seconds: Seconds
    """Until the first content of a stream."""
    idle_seconds: Seconds
    """Between two pieces of a stream."""
    slow_tokens_per_second: Annotated[float, Field(ge=0)]
    """A stream slower than this after `attempt_seconds` is left for the next candidate."""
    calls: Annotated[int, Field(gt=0)]
    """Of one request, over all providers."""
    calls_per_account: Annotated[int, Field(gt=0)]
    """Of one request, on one account."""
    rest_seconds: Seconds
    """Of a model after its first failure when its host names no time; doubles with each further one."""
    longest_rest_seconds: Seconds
    """Of any rest that a host did not ask for."""
    quota_rest_seconds: Seconds
    """Of an account whose quota is exhausted, when its host names no reset."""
    on_cut: Literal["continue", "restart", "error"]
    """A stream that breaks after its first content: the next candidate goes on, begins anew, or the error is raised."""


@cache
def shipped_policy() -> Policy:
    """The policy of `conf/policy/default.yaml`, for callers without a config."""
    import yaml

    from hafs.config import conf_folder

    values: dict[str, Any] = yaml.safe_load((conf_folder() / "policy/default.yaml").read_text(encoding="utf-8"))
    del values["_target_"]
    return Policy(**values)
