"""Maps a failure to an HTTP status, which tells a client whether to retry, and when."""

import logging
import math
from collections.abc import Mapping

from hafs.core.errors import AllProvidersDown, HafsError, InputError
from hafs.server.api_error import ApiError

_log = logging.getLogger(__name__)
PERMANENT: Mapping[str, str] = {
    "too_long": "context_length_exceeded",
    "filtered": "content_filter",
    "unsupported": "unsupported_parameter",
    "rejected": "invalid_request",
}
"""Causes that a retry does not change, with OpenAI's code for each."""
LIMITED = frozenset({"rate_limited", "quota_exhausted", "busy", "limit"})
"""Causes that pass with time: limits of requests, tokens or money."""
UNASKED = frozenset({"no_key", "no_package"})
"""Causes that lie in the config, not in the request."""
PASSED_ON = frozenset({400, 413, 415, 422})
"""HTTP statuses of a host that apply to the request to hafs as well."""
USUAL_WAIT_SECONDS = 5


def as_api_error(error: Exception) -> ApiError:
    """The answer to a client, without a traceback and without a secret."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AllProvidersDown):
        return _unanswered(error)
    if isinstance(error, InputError):
        return ApiError(400, error.fact, param="messages")
    if isinstance(error, HafsError):
        return ApiError(500, error.fact, kind="server_error", code="configuration")
    _log.error("a request failed", exc_info=error)
    return ApiError(500, "hafs failed to answer; its log says why", kind="server_error", code="internal_error")


def _unanswered(error: AllProvidersDown) -> ApiError:
    """400, 413, 415 or 422: the request will never be answered. 429: a limit is reached. 503: anything else."""
    causes = [cause for cause in error.causes if cause not in UNASKED]
    statuses = [status for attempt in error.attempts if (status := attempt.get("status"))]
    rejected_unsaid = "rejected" in causes and not statuses
    if causes and set(causes) <= PERMANENT.keys() and set(statuses) <= {*PASSED_ON, 403} and not rejected_unsaid:
        passed_on = [status for status in statuses if status in PASSED_ON]
        return ApiError(passed_on[-1] if passed_on else 400, error.fact, code=PERMANENT[causes[0]])
    wait = math.ceil(error.retry_after) if error.retry_after else USUAL_WAIT_SECONDS
    if causes and set(causes) <= LIMITED:
        code = "insufficient_quota" if "quota_exhausted" in causes else "rate_limit_exceeded"
        return ApiError(429, error.fact, kind=code, code=code, retry_after=wait)
    return ApiError(503, error.fact, kind="server_error", code="all_providers_down", retry_after=wait)
