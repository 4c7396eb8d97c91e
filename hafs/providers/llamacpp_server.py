"""llama.cpp servers inside this process, started with the first request and stopped with the process.

A server loads its adapters at start. A request for a new adapter starts a second server over the same
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
from hafs.providers.adapter_turns import AdapterTurns


@dataclass(eq=False)
class RunningServer:
    """A running server."""

    server: Any
    """The xllamacpp server; it stops when it is garbage-collected."""
    url: str
    key: str
    """API key of every request, so that other local users get no answer."""
    adapters: dict[Path, int]
    """The server's number of each adapter file."""
    requests: int = 0
    retired: bool = field(default=False)

    def drop(self) -> None:
        """Stop the server and wait for it."""
        self.server = None
        gc.collect()


class Servers:
    """The current server of a model, and older ones that still answer requests.

    Args:
        base: The model in Hugging Face format.
        kind: Storage type of the matrices in GGUF.
        context: Context in tokens, shared by all concurrent requests.
        slots: Concurrent requests.
        threads: CPU threads; None: one per core.
        template: The chat template; None: the one that the model comes with.
    """

    def __init__(
        self, base: Path, *, kind: Kind, context: int, slots: int, threads: int | None, template: str | None
    ) -> None:
        self.base, self.context, self.slots, self.threads, self.template = base, context, slots, threads, template
        self.kind: Kind = kind
        self.turns = AdapterTurns(slots)
        self._lock = threading.Lock()
        self._current: RunningServer | None = None
        atexit.register(self.close)

    @contextmanager
    def serving(self, adapter: Path | None) -> Iterator[RunningServer]:
        """A server with an adapter, for one request; blocks while a server starts."""
        served = self.enter(adapter)
        try:
            yield served
        finally:
            self.leave(served)

    def enter(self, adapter: Path | None) -> RunningServer:
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

    def leave(self, served: RunningServer) -> None:
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

    def _drop_if_done(self, served: RunningServer) -> None:
        if served.retired and served.requests == 0 and served.server is not None:
            served.drop()

    def _start(self, adapters: list[Path]) -> RunningServer:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # a compiled module without type stubs
        params = xllamacpp.CommonParams()
        params.model.path = str(base_file(self.base, self.kind))
        params.hostnames, params.port = ["127.0.0.1"], 0
        key = secrets.token_urlsafe(24)
        params.api_keys = [key]
        params.cors_origins, params.ui = "http://127.0.0.1", False
        params.n_ctx, params.n_parallel, params.kv_unified = self.context, self.slots, True
        params.ctx_shift = False
        # llama.cpp looks up KV states outside of a slot by prompt alone, whatever adapter computed them. The KV cache
        # of a slot is safe: llama.cpp clears it when the adapter changes.
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
            raise RunError(f"the llama.cpp server did not start: {str(error).splitlines()[0]}") from error
        return RunningServer(server, server.listening_address, key, {file: i for i, file in enumerate(adapters)})


_SERVERS: dict[tuple[Any, ...], Servers] = {}
_LOCK = threading.Lock()


def servers(
    base: Path, *, kind: Kind, context: int, slots: int, threads: int | None, template: str | None = None
) -> Servers:
    """The servers of a model; the same object for the same arguments."""
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
