"""OpenTelemetry spans of a council's answer, with an in-memory exporter and with a real collector on localhost."""

import asyncio
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("openinference.instrumentation.langchain")
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hafs.providers.otel import trace

TWO = "Why does my routine with lda and sta crash with an error?"


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace(provider)
    trace(provider)
    yield exporter.get_finished_spans
    LangChainInstrumentor().uninstrument()


def tree(spans):
    """The names of the spans and of their parents."""
    names = {span.context.span_id: span.name for span in spans}
    return sorted((span.name, names.get(span.parent.span_id) if span.parent else None) for span in spans)


@pytest.mark.parametrize("mode", ["invoke", "stream", "ainvoke", "astream"])
def test_each_part_of_an_answer_is_a_nested_span(seat, spans, mode):
    model = seat()

    async def streamed():
        return [chunk async for chunk in model.astream(TWO)]

    match mode:
        case "invoke":
            model.invoke(TWO)
        case "stream":
            list(model.stream(TWO))
        case "ainvoke":
            asyncio.run(model.ainvoke(TWO))
        case _:
            asyncio.run(streamed())
    parts = ["expert asm", "expert debug", "synthesizer llm"]
    expected = [("Council", None), ("router keyword", "Council"), *((part, "Council") for part in parts)]
    assert tree(spans()) == sorted([*expected, *(("scripted/scripted", part) for part in parts)])
    assert len({span.context.trace_id for span in spans()}) == 1
    attempt = next(span for span in spans() if span.name == "scripted/scripted")
    assert attempt.attributes["openinference.span.kind"] == "LLM"
    assert attempt.attributes["llm.token_count.completion"] > 0


def test_a_failed_attempt_is_a_span_with_an_error(seat, spans):
    seat("expert=general", "provider.scripted.host.faults=[overloaded]", "policy.backoff_seconds=0.01").invoke(TWO)
    attempts = [span for span in spans() if span.name == "scripted/scripted"]
    assert [span.status.is_ok for span in attempts] == [False, True]


def test_the_command_exports_to_the_collector_that_the_environment_names(own_state):
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        command = [sys.executable, "-m", "hafs", "ask", TWO, "provider=scripted", "router=keyword", "receipts=null"]
        done = subprocess.run(
            command, cwd=own_state, env=os.environ | where, input=b"", capture_output=True, timeout=120, check=False
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert {path for path, _ in received} == {"/v1/traces"}
    assert b"router keyword" in b"".join(body for _, body in received)
