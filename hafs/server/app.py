"""An OpenAI-compatible endpoint over a council."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from hafs.core.errors import HafsError
from hafs.core.loopback import is_loopback
from hafs.council.chat_model import MODEL, Council
from hafs.server.answer import respond
from hafs.server.failures import refused
from hafs.server.openai_schema import Refusal, asked, model_list

__all__ = ["RequestLimits", "application"]

BODY_SECONDS = 30
"""The limit for a request body to arrive."""


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The limits of the server."""

    max_body_bytes: int
    max_requests: int
    """Requests that are answered concurrently."""


@dataclass(kw_only=True)
class Desk:
    """Authorization, the concurrency limit, and the council or expert behind a model name."""

    council: Council
    token: str | None
    limits: RequestLimits
    busy: int = 0
    _by_name: dict[str, Council] = field(default_factory=dict)

    def admit(self, request: Request) -> None:
        """Refuse a request without the token. Where no token is set, refuse requests that other web pages cause.

        Raises:
            Refusal: 401 or 403.
        """
        if self.token is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise Refusal(401, "the request has no valid token", code="invalid_api_key")
        elif not is_loopback(request.url.hostname or ""):
            raise Refusal(403, "without a token only requests to localhost are answered", code="forbidden_host")

    def council_of(self, model: str) -> Council:
        """The whole council, or one of its experts alone.

        Raises:
            Refusal: 404, there is no such model.
        """
        if model in (MODEL, "council"):
            return self.council
        for name, expert in self.council.panel.experts.items():
            if model in (name, expert.model):
                return self._by_name.setdefault(name, self.council.alone(name))
        raise Refusal(404, f"there is no model {model!r}; /v1/models lists them", param="model", code="model_not_found")

    async def body(self, request: Request) -> bytes:
        """The request's body.

        Raises:
            Refusal: 413, 415 or 408.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(
                415, "the body must be application/json"
            )  # an HTML form of another site cannot send this type
        limit, parts, size = self.limits.max_body_bytes, [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise Refusal(413, f"the body is longer than {limit} bytes", code="request_too_large")
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {BODY_SECONDS} s") from error
        return b"".join(parts)


def application(council: Council, *, token: str | None, limits: RequestLimits) -> FastAPI:
    """The endpoint as an ASGI application."""
    app = FastAPI(title="hafs", docs_url=None, redoc_url=None, openapi_url=None)
    desk = Desk(council=council, token=token, limits=limits)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "requests": desk.busy}

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        desk.admit(request)
        return JSONResponse(model_list(council))

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        desk.admit(request)
        question = asked(await desk.body(request))
        chosen = desk.council_of(question.model)
        if desk.busy >= limits.max_requests:
            raise Refusal(
                429, f"{limits.max_requests} requests are being answered", code="too_many_requests", retry_after=1
            )
        desk.busy += 1
        return await respond(request, chosen, question, done=lambda: _leave(desk))

    @app.middleware("http")
    async def shaped(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        if response.status_code in (404, 405) and response.headers.get("x-hafs") is None:
            return Refusal(response.status_code, f"there is no {request.method} {request.url.path}").response()
        return response

    app.add_exception_handler(Refusal, lambda _, error: error.response())  # type: ignore[arg-type, attr-defined]
    app.add_exception_handler(HafsError, lambda _, error: refused(error).response())
    app.add_exception_handler(Exception, lambda _, error: refused(error).response())
    return app


def _leave(desk: Desk) -> None:
    desk.busy -= 1
