"""OpenTelemetry export of LangChain's runs, and so of router, experts and attempts (extra `otel`).

The spans are made by OpenInference's LangChain instrumentation, which its authors maintain. They contain prompts and
answers; OPENINFERENCE_HIDE_INPUTS=true and OPENINFERENCE_HIDE_OUTPUTS=true leave them out.
"""

import os
from typing import Any

from hafs.core.errors import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The standard variables with the address of a collector."""


def trace(provider: Any = None) -> None:
    """Export every run of this process as a span; safe to call again.

    Args:
        provider: OpenTelemetry's tracer provider; None: the global one.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        from openinference.instrumentation.langchain import LangChainInstrumentor
    except ImportError as error:
        raise ConfigError("OpenTelemetry export needs packages that are not installed", hint=_INSTALL) from error
    instrumentor = LangChainInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)


def trace_from_environment() -> bool:
    """Export to the collector that the environment names; returns whether it names one.

    Raises:
        ConfigError: It names one, and the extra is not installed.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but hafs[otel] is not installed", hint=_INSTALL
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "hafs")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # flushed when the process ends
    trace(provider)
    return True


_INSTALL = "pip install 'hafs[otel]'"
