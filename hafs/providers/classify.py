"""Classifies exceptions and HTTP errors as one of the kinds of `ProviderError`, without secrets in the text."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from hafs.core.errors import HafsError
from hafs.core.redaction import scrub
from hafs.providers.provider_error import Kind, ProviderError

LONGEST_TEXT = 200
_KEY = re.compile(r"(?i)\b(?:sk|pk|rk|key|hf|gsk|xai|ghp|github_pat|AIza)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}|bearer\s+\S+")
_QUOTA = re.compile(r"quota|credit|billing|spend(ing)? limit|key limit|payment", re.I)
_RATE = re.compile(r"rate[_ -]?limit|too many requests|per[_ -]?(minute|second|min\b)", re.I)
_DAILY = re.compile(r"per[_ -]?(day|month)|daily|monthly", re.I)
_DELAY = re.compile(r"retryDelay\W+(\d+(?:\.\d+)?)s")
_LONG = re.compile(
    r"context[_ -]?(length|window|size)|maximum context|too many tokens|prompt is too long|"
    r"exceed\w* the (available )?context",
    re.I,
)
_FILTER = re.compile(r"content[_ ]?(filter|policy|management)|moderation|flagged|safety", re.I)


def one_line(text: object, secrets: tuple[str, ...] = ()) -> str:
    """A host's message for a log: one short line without markup and without anything that looks like a key."""
    line = scrub(str(text).encode("utf-8", "replace").decode())
    for secret in secrets:
        if secret:
            line = line.replace(secret, "[key]")
    if re.match(r"\s*<(!doctype|html|head|body)", line, re.I):
        title = re.search(r"<title>(.*?)</title>", line, re.I | re.S)
        line = f"a web page: {title[1]}" if title else "a web page"
    line = " ".join(_KEY.sub("[key]", line).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds until the host accepts requests again, from Retry-After (seconds or a date) or its reset headers.

    Args:
        headers: Of the response, by lower-case name.
        now: Seconds since 1970.
    """
    now = time.time() if now is None else now
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    told = headers.get("retry-after", "").strip()
    if told:
        seconds = _number(told)
        if seconds is None:
            try:
                seconds = parsedate_to_datetime(told).timestamp() - now
            except (ValueError, TypeError, OverflowError):
                seconds = None
        if seconds is not None:
            return max(0.0, seconds)
    reset = _number(headers.get("x-ratelimit-reset"))
    if reset is None or headers.get("x-ratelimit-remaining", "0").strip() not in ("0", ""):
        return None
    reset = reset / 1000 if reset > 1e11 else reset
    return max(0.0, reset - now) if reset > 1e9 else max(0.0, reset)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def from_error(error: BaseException, secrets: tuple[str, ...] = ()) -> ProviderError:
    """The `ProviderError` for any exception."""
    if isinstance(error, ProviderError | HafsError | UnicodeEncodeError):
        return unsent(error, secrets)
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or _of_httpx(error, "ReadTimeout", "WriteTimeout"):
        return ProviderError("timeout", one_line(error, secrets) or "no answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # negative when a name does not resolve
        reason = os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
        return ProviderError("unreachable", one_line(f"{error.host}:{error.port}: {reason}", secrets))
    broken = aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | ConnectionError
    if isinstance(error, broken) or _of_httpx(error, "TransportError"):
        return ProviderError("unreachable", one_line(error, secrets) or type(error).__name__)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if isinstance(status, int) and status >= 400:
        headers = {str(k).lower(): str(v) for k, v in dict(getattr(response, "headers", {}) or {}).items()}
        return from_status(status, {"message": str(error)}, headers, secrets)
    return ProviderError("failed", one_line(f"{type(error).__name__}: {error}", secrets))


def _of_httpx(error: BaseException, *names: str) -> bool:
    """Whether httpx raised an error; not if it is not imported yet, which takes 0.2 s."""
    httpx = sys.modules.get("httpx")
    return httpx is not None and isinstance(error, tuple(getattr(httpx, name) for name in names))


def unsent(error: Exception, secrets: tuple[str, ...] = ()) -> ProviderError:
    """The `ProviderError` for an error on our side: a template, an encoding, an adapter, a setting."""
    if isinstance(error, ProviderError):
        return error
    said = error.fact if isinstance(error, HafsError) else f"{type(error).__name__}: {error}"
    return ProviderError("unsent", one_line(said, secrets))


@contextmanager
def before_sending() -> Iterator[None]:
    """Mark every exception inside as an error on our side, not the host's.

    Raises:
        ProviderError: `unsent`, or the one that was raised.
        HafsError: Passed on unchanged.
    """
    try:
        yield
    except HafsError:
        raise
    except Exception as error:
        raise unsent(error) from error


def from_status(status: int, body: object, headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> ProviderError:
    """The `ProviderError` for an HTTP status and body, or for an error object inside an answer.

    Args:
        status: Of the response, or the error's own code.
        body: Parsed JSON, or text.
        headers: By lower-case name.
        secrets: Removed from the text.
    """
    text, marks = _told(body)
    said = one_line(text or f"HTTP {status}", secrets)
    said = said if str(status) in said else f"{status} {said}"
    wait = retry_after(headers)
    if wait is None and (delay := _DELAY.search(marks)):
        wait = float(delay[1])
    if wait is None:
        wait = retry_after(_headers_within(body))
    return ProviderError(_kind(status, f"{text} {marks}"), said, retry_after=wait, status=status)


def _kind(status: int, text: str) -> Kind:
    """The first rule that matches."""
    quota, filtered = bool(_QUOTA.search(text)), bool(_FILTER.search(text))
    rules: tuple[tuple[bool, Kind], ...] = (
        (status == 402 and "in_flight" in text, "busy"),
        (status == 402, "quota_exhausted"),
        (status == 429 and bool(_DAILY.search(text)), "quota_exhausted"),
        (status == 429 and quota and not _RATE.search(text), "quota_exhausted"),
        (status == 429, "rate_limited"),
        (status in (401, 403) and filtered, "filtered"),
        (status in (401, 403) and quota, "quota_exhausted"),
        (status in (401, 403), "unauthorized"),
        (status in (408, 504), "timeout"),
        (status >= 500, "overloaded"),
        (status == 413 or bool(_LONG.search(text)), "too_long"),
        (filtered, "filtered"),
    )
    for holds, kind in rules:
        if holds:
            return kind
    return "rejected"


def _error_of(body: object) -> object:
    """The error object in a body; some hosts wrap it in a list."""
    if isinstance(body, list) and body:
        body = body[0]
    return body.get("error", body) if isinstance(body, Mapping) else body


def _headers_within(body: object) -> dict[str, str]:
    """Headers that an aggregator passes on inside its error object."""
    error = _error_of(body)
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    headers = metadata.get("headers") if isinstance(metadata, Mapping) else None
    return {str(k).lower(): str(v) for k, v in headers.items()} if isinstance(headers, Mapping) else {}


def _told(body: object) -> tuple[str, str]:
    """The message of an error body, and its codes and types."""
    error: Any = _error_of(body)
    if not isinstance(error, Mapping):
        return ("" if error is None else str(error)), ""
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    marks = [error.get("code"), error.get("type"), error.get("status"), error.get("details"), *metadata.values()]
    return str(error.get("message") or error), " ".join(str(mark) for mark in marks if mark is not None)
