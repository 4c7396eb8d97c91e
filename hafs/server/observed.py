"""Records each request: metrics for Prometheus and a line in the access log, without text and keys."""

import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from hafs.server.dialect import Conclusion

PATHS = frozenset(
    {"/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/messages", "/v1/embeddings", "/v1/models"}
)
"""Other paths are counted together: clients could make up any number of them."""
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client finds the figures of the other processes."""
FACTS = "hafs"
"""Key of a request's facts in its ASGI scope."""


class Metrics:
    """Counters of one process; `text` adds those of the other processes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("hafs_requests", "Requests by path and status", ["path", "status"], **made)
        self.seconds = Histogram("hafs_request_seconds", "Until the last byte", ["path"], buckets=SECONDS, **made)
        self.busy = Gauge("hafs_requests_in_progress", "Now", multiprocess_mode="livesum", **made)
        self.tokens = Counter("hafs_tokens", "Tokens of answers", ["direction"], **made)
        self.dollars = Counter("hafs_cost_dollars", "Cost of answers whose cost is known", **made)
        self.unpriced = Counter("hafs_unknown_cost_answers", "Answers whose cost is unknown", **made)
        self.calls = Counter("hafs_provider_calls", "Calls to providers", ["provider", "outcome"], **made)
        self.experts = Counter("hafs_expert_answers", "Answers of experts", ["expert", "outcome"], **made)

    def answered(self, end: Conclusion) -> None:
        """Count an answer by its receipt."""
        receipt = end.receipt
        for part in receipt.get("experts", []):
            self.experts.labels(part["name"], "answered" if part["outcome"] == "answered" else "failed").inc()
            for attempt in part["attempts"]:
                self.calls.labels(attempt["provider"], attempt["outcome"]).inc()
        for attempt in (receipt.get("synthesizer") or {}).get("attempts", []):
            self.calls.labels(attempt["provider"], attempt["outcome"]).inc()
        for direction in ("input", "output"):
            self.tokens.labels(direction).inc(int((end.usage or {}).get(f"{direction}_tokens") or 0))
        cost = cost_of(end)
        if cost is None:
            self.unpriced.inc()
        else:
            self.dollars.inc(cost)

    def text(self) -> bytes:
        """Prometheus' text format."""
        if os.environ.get(SHARED):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
            return generate_latest(registry)
        return generate_latest(self.registry)


def cost_of(end: Conclusion) -> float | None:
    """The cost of an answer in dollars; None: unknown."""
    cost = end.receipt.get("cost")
    return float(cost) if isinstance(cost, int | float) else None


class AccessLog:
    """One JSON object per request and line.

    Args:
        path: The file, to which lines are appended; `-`: standard output.
    """

    def __init__(self, path: str) -> None:
        self.path = None if path == "-" else Path(path).expanduser()

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write a line. The file is opened each time, so that it can be moved away."""
        line = json.dumps(facts, ensure_ascii=False)
        if self.path is None:
            print(line, flush=True)
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Observed:
    """An ASGI application whose requests are counted and logged."""

    def __init__(self, app: Any, metrics: Metrics, log: AccessLog | None) -> None:
        self.app, self.metrics, self.log = app, metrics, log

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Pass the request on; afterwards it is counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        facts, began = scope.setdefault(FACTS, {}), time.perf_counter()
        status = 499  # until a response begins

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            self._count(scope, facts, status, time.perf_counter() - began)

    def _count(self, scope: Any, facts: Mapping[str, Any], status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in PATHS else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        if self.log is not None:
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "seconds": round(seconds, 4),
            }
            self.log.write(line | dict(facts))
