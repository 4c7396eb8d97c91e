"""What hosts say when they refuse, and the kind that is read from it."""

import time
from email.utils import formatdate

import pytest

from hafs.providers.classify import from_error, from_status, one_line, retry_after


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}}, "rate_limited"),
        (
            429,
            {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
            "quota_exhausted",
        ),
        (429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}, "quota_exhausted"),
        (429, {"error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429}}, "rate_limited"),
        (
            429,
            [{"error": {"message": "You exceeded your current quota", "details": [{"quotaId": "RequestsPerMinute"}]}}],
            "rate_limited",
        ),
        (
            429,
            [{"error": {"message": "You exceeded your current quota", "details": [{"quotaId": "RequestsPerDay"}]}}],
            "quota_exhausted",
        ),
        (402, {"error": {"message": "x", "metadata": {"reason": "openrouter_in_flight_budget"}}}, "busy"),
        (402, None, "quota_exhausted"),
        (403, {"error": {"message": "Key limit exceeded", "code": 403}}, "quota_exhausted"),
        (403, {"error": {"message": "Your input was flagged by moderation"}}, "filtered"),
        (401, "no", "unauthorized"),
        (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, "too_long"),
        (400, {"error": {"message": "maximum context length is 8192 tokens"}}, "too_long"),
        (413, "", "too_long"),
        (400, {"error": {"message": "Unsupported parameter: 'temperature'"}}, "rejected"),
        (404, {"error": "model not found"}, "rejected"),
        (504, "<html>", "timeout"),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded"),
    ],
)
def test_a_status_and_its_body_are_one_kind(status, body, kind):
    assert from_status(status, body, {}).kind == kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": formatdate(1_800_000_040, usegmt=True)}, 40),
        ({"retry-after": formatdate(1_700_000_000, usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-reset": "1800000060000", "x-ratelimit-remaining": "0"}, 60),
        ({"x-ratelimit-reset": "1800000060", "x-ratelimit-remaining": "5"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_every_form(headers, seconds):
    assert retry_after(headers, now=1_800_000_000.0) == seconds


def test_waits_inside_error_bodies_are_found():
    gemini = [{"error": {"message": "x", "details": [{"retryDelay": "34s"}]}}]
    assert from_status(429, gemini, {}).retry_after == 34
    reset = str(int((time.time() + 60) * 1000))
    inside = {"X-RateLimit-Reset": reset, "X-RateLimit-Remaining": "0"}
    refusal = from_status(429, {"error": {"message": "x", "metadata": {"headers": inside}}}, {})
    assert refusal.retry_after == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdef123456",
        "Authorization: Bearer abc.def-ghi",
        "key AIzaSyA1234567890 is blocked",
        "canary-value",
        "<!DOCTYPE html><title>Down</title>" + "x" * 9999,
        "a\nb\tc" * 500,
    ],
)
def test_words_for_a_log_are_short_and_without_keys(text):
    line = one_line(text, ("canary-value",))
    assert len(line) <= 200
    assert "\n" not in line
    for secret in ("abcdef123456", "abc.def", "A1234567890", "canary", "DOCTYPE"):
        assert secret not in line


def test_errors_of_other_clients_are_read_by_their_status():
    class ResponseError(Exception):
        status_code = 503

    assert from_error(ResponseError("x")).kind == "overloaded"
    assert from_error(ConnectionRefusedError("x")).kind == "unreachable"
    assert from_error(TimeoutError()).kind == "timeout"
    assert from_error(ZeroDivisionError("x")).kind == "failed"
