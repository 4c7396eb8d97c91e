"""From a checked config to a server that listens: in this process, or in several that share a socket and the counts."""

import os
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from functools import partial
from socket import socket
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hafs.core.errors import ConfigError
from hafs.core.waiting import waiting
from hafs.server.listen import bound, run, say_listening, token_of

CONFIG = "HAFS_SERVE_CONFIG"
"""The variable that hands the composed config, which holds no secrets, to the worker processes."""
STARTING_SECONDS = 600


def serve_config(config: DictConfig) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: The address needs a token, the port is taken, an adapter is missing, or no provider has its key.
    """
    token_of(config.token_env, config.host, users=bool(config.users))
    if config.workers == 1:
        app = application_of(config)
        with bound(config.host, config.port) as listening:
            run(app, listening)
        return
    _refuse_several_local_bases(config)
    with bound(config.host, config.port) as listening, tempfile.TemporaryDirectory() as figures:
        from hafs.server.observed import SHARED

        os.environ[CONFIG], os.environ[SHARED] = OmegaConf.to_yaml(config, resolve=True), figures
        _run_workers(config.workers, listening)


def application_of(config: DictConfig) -> Any:
    """The ASGI application, with everything loaded that the first question needs."""
    from hafs.council.assembly import assemble
    from hafs.council.receipt_folder import tidy
    from hafs.providers.otel import trace_from_environment
    from hafs.providers.quota import ledger_path
    from hafs.server.app import RequestLimits, application
    from hafs.server.users import UsageStore, Users

    trace_from_environment()
    council = assemble(config)
    if config.cache:
        from hafs.server.answer_cache import AnswerCache

        council = council.model_copy(update={"cache": AnswerCache(maxsize=config.cache)})
    with waiting("loading the models"):
        council.load()  # also reports missing adapters and keys now, not at the first question
    usage = ledger_path().with_name("usage.sqlite3")
    folder = council.receipts
    return application(
        council,
        token=token_of(config.token_env, config.host, users=bool(config.users)),
        limits=RequestLimits(max_body_bytes=config.max_body_bytes, max_requests=config.max_requests),
        cors=config.cors,
        aliases=config.aliases,
        users=Users(config.users, UsageStore(usage)) if config.users else None,
        access_log=config.access_log,
        every_minute=partial(tidy, folder, days=config.receipts_days, most=config.receipts_most) if folder else None,
    )


def worker() -> Any:
    """The application of a worker process."""
    return application_of(OmegaConf.create(os.environ[CONFIG]))  # type: ignore[arg-type]


def _refuse_several_local_bases(config: DictConfig) -> None:
    from hafs.council.assembly import assemble

    council = assemble(config)
    _ = council.models  # errors of the config are reported once, before any process starts
    inside = [provider.name for provider in council.providers if provider.host.in_process]
    if inside:
        raise ConfigError(
            f"workers={config.workers} would load the base of provider={inside[0]} {config.workers} times",
            hint="workers=1 answers many requests concurrently; or serve the base with vLLM and ask it: provider=vllm",
        )


def _run_workers(workers: int, listening: socket) -> None:
    """Uvicorn's supervisor: it restarts a worker that dies, and passes signals on."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "hafs.server.serving:worker", factory=True, workers=workers, log_level="warning", access_log=False,
        timeout_graceful_shutdown=10, timeout_worker_healthcheck=STARTING_SECONDS,
    )  # fmt: skip
    threading.Thread(target=_say_when_ready, args=(listening.getsockname()[:2],), daemon=True).start()
    Multiprocess(config, sockets=[listening]).run()


def _say_when_ready(address: tuple[str, int]) -> None:
    """A worker accepts connections as soon as it has loaded everything."""
    host, port = address
    where = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), opener.open(f"http://{where}:{port}/health", timeout=STARTING_SECONDS):
            say_listening(address)
            return
        time.sleep(0.1)
