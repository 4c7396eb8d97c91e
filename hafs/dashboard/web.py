"""The live page of runs, with the figures of the terminal and of the report; it is served to this machine only."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from hafs.core.errors import ConfigError
from hafs.core.loopback import is_loopback
from hafs.core.pages import render
from hafs.runs.history import JournalReader
from hafs.runs.report import body_facts

_TEMPLATES = "dashboard/templates"


def refuse_public(host: str) -> None:
    """Reject an address that other machines can reach.

    Raises:
        ConfigError: The address is not a loopback address.
    """
    if not is_loopback(host):
        raise ConfigError(
            f"host is {host!r}, but the dashboard is served to this machine only",
            hint="use host=127.0.0.1; from another machine: ssh -L 8321:127.0.0.1:8321 THIS_MACHINE",
        )


def page(journals: Sequence[JournalReader], *, refresh_seconds: float) -> FastAPI:
    """The web application.

    Args:
        journals: One for each run.
        refresh_seconds: Interval at which an open page asks for news.
    """
    app = FastAPI(title="hafs", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])
    reading = threading.Lock()
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

    def chosen(run: int | None) -> Sequence[JournalReader]:
        return journals if run is None or not 0 <= run < len(journals) else [journals[run]]

    def facts(run: int | None) -> dict[str, Any]:
        with reading:
            for journal in chosen(run):
                journal.follow()
            back = run is not None and len(journals) > 1
            return {"back": back, **body_facts([journal.history for journal in chosen(run)])}

    @app.get("/", response_class=HTMLResponse)
    def whole(run: int | None = None) -> HTMLResponse:
        milliseconds = round(refresh_seconds * 1000)
        text = render(f"{_TEMPLATES}/live.html.j2", title="hafs dashboard", milliseconds=milliseconds, **facts(run))
        return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})

    @app.get("/body", response_class=HTMLResponse)
    def part(run: int | None = None) -> HTMLResponse:
        text = render(f"{_TEMPLATES}/live_body.html.j2", **facts(run))
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    return app


def serve(
    journals: Sequence[JournalReader],
    *,
    host: str,
    port: int,
    refresh_seconds: float,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: The address is public, or the port cannot be used.
    """
    import socket

    import uvicorn

    refuse_public(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"port {port} cannot be used: {error.strerror}", hint=f"port={port + 1}") from error
    shown = f"[{host}]" if ":" in host else host
    say(f"http://{shown}:{listener.getsockname()[1]}  (Ctrl-C to stop)")
    app = page(journals, refresh_seconds=refresh_seconds)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
