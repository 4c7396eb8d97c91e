"""Servers of llama.cpp inside this process: started with the first request, gone with the process.

A server knows its adapters from its start on. A request for a new one starts another server beside it, over the same
mapped file, and the old one ends with its last request.
"""

import atexit
import gc
import importlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hafs.core.errors import RunError
from hafs.modeling.gguf import Kind
from hafs.modeling.gguf.cache import adapter_file, base_file


@dataclass(eq=False)
class Served:
    """A running server."""

    server: Any
    """xllamacpp's; it stops when it is dropped."""
    url: str
    key: str
    """Every request names it, so that nobody else on the machine is answered."""
    adapters: dict[Path, int]
    """Its numbers of the adapters' files."""
    requests: int = 0
    retired: bool = field(default=False)

    def drop(self) -> None:
        """Stop it, and wait until it has."""
        self.server = None
        gc.collect()


class Servers:
    """The server of one model, and those before it that still answer.

    Args:
        base: The model in transformers' format.
        kind: How its matrices are stored in GGUF.
        context: Tokens of all requests at once.
        slots: Requests at once.
        threads: CPU threads; None: one for each core.
        template: The chat template; None: the one that the model comes with.
    """

    def __init__(
        self, base: Path, *, kind: Kind, context: int, slots: int, threads: int | None, template: str | None
    ) -> None:
        self.base, self.context, self.slots, self.threads, self.template = base, context, slots, threads, template
        self.kind: Kind = kind
        self._lock = threading.Lock()
        self._current: Served | None = None
        atexit.register(self.close)

    @contextmanager
    def serving(self, adapter: Path | None) -> Iterator[Served]:
        """A server that knows an adapter, for one request; blocks while one starts."""
        served = self.enter(adapter)
        try:
            yield served
        finally:
            self.leave(served)

    def enter(self, adapter: Path | None) -> Served:
        """Begin a request."""
        file = None if adapter is None else adapter_file(adapter, self.base)
        with self._lock:
            current = self._current
            if current is None or (file is not None and file not in current.adapters):
                known = list(current.adapters) if current else []
                self._current = self._start([*known, *([file] if file else [])])
                if current is not None:
                    current.retired = True
                    self._drop_if_done(current)
            self._current.requests += 1  # type: ignore[union-attr]
            return self._current  # type: ignore[return-value]

    def leave(self, served: Served) -> None:
        """End a request."""
        with self._lock:
            served.requests -= 1
            self._drop_if_done(served)

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            if self._current is not None:
                self._current.drop()
                self._current = None

    def _drop_if_done(self, served: Served) -> None:
        if served.retired and served.requests == 0 and served.server is not None:
            served.drop()

    def _start(self, adapters: list[Path]) -> Served:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # a compiled module without type stubs
        params = xllamacpp.CommonParams()
        params.model.path = str(base_file(self.base, self.kind))
        params.hostnames, params.port = ["127.0.0.1"], 0
        key = secrets.token_urlsafe(24)
        params.api_keys = [key]
        params.cors_origins, params.ui = "http://127.0.0.1", False
        params.n_ctx, params.n_parallel, params.kv_unified = self.context, self.slots, True
        params.ctx_shift = False
        # States kept outside of a slot are found by their prompt alone, whatever adapter computed them. A slot's own
        # cache stays: llama.cpp clears it when the adapter changes.
        params.cache_ram_mib, params.cache_idle_slots, params.n_ctx_checkpoints = 0, False, 0
        params.verbosity = -1
        params.warmup = False
        if self.template is not None:
            params.chat_template, params.use_jinja = self.template, True
        if self.threads:
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
        params.lora_init_without_apply = True
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(file), 0.0) for file in adapters]
        try:
            server = xllamacpp.Server(params)
        except Exception as error:
            raise RunError(f"the llama.cpp server does not start: {str(error).splitlines()[0]}") from error
        return Served(server, server.listening_address, key, {file: i for i, file in enumerate(adapters)})


_SERVERS: dict[tuple[Any, ...], Servers] = {}
_LOCK = threading.Lock()


def servers(
    base: Path, *, kind: Kind, context: int, slots: int, threads: int | None, template: str | None = None
) -> Servers:
    """The servers of a model; one at a time for the same words."""
    key = (base, kind, context, slots, threads, template)
    with _LOCK:
        if key not in _SERVERS:
            _SERVERS[key] = Servers(base, kind=kind, context=context, slots=slots, threads=threads, template=template)
        return _SERVERS[key]


def close() -> None:
    """Stop every server."""
    with _LOCK:
        running = list(_SERVERS.values())
        _SERVERS.clear()
    for each in running:
        each.close()
        atexit.unregister(each.close)
