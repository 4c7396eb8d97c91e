"""The endpoints over a council: OpenAI's and Anthropic's APIs as an ASGI application.

Starlette alone: of FastAPI, only the decorators would be used.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hafs.council.chat_model import Council
from hafs.server.answer import ANSWERED_BY, respond
from hafs.server.anthropic_messages import Messages
from hafs.server.api_error import ApiError
from hafs.server.chat_completions import ChatCompletions, Completions
from hafs.server.chat_page import page, rendered
from hafs.server.desk import Desk, RequestLimits
from hafs.server.dialect import Conclusion, Dialect
from hafs.server.embeddings import embeddings
from hafs.server.failures import as_api_error
from hafs.server.observed import FACTS, AccessLog, Metrics, Observed
from hafs.server.responses import Responses
from hafs.server.users import Users

__all__ = ["RequestLimits", "application"]

DIALECTS: Mapping[str, Dialect] = {
    "/v1/chat/completions": ChatCompletions(),
    "/v1/completions": Completions(),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
}
Endpoint = Callable[[Request], Awaitable[Response]]


def application(
    council: Council,
    *,
    token: str | None,
    limits: RequestLimits,
    cors: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    users: Users | None = None,
    access_log: str | None = None,
    every_minute: Callable[[], object] | None = None,
) -> Observed:
    """The endpoints.

    Args:
        council: It answers.
        token: That requests must carry; None: they come from this machine.
        limits: Of body and concurrency.
        cors: Origins of web pages that may send requests.
        aliases: Further names of the council or of experts; `*` stands for every other name.
        users: Further keys, each with a budget.
        access_log: A file for a line per request; `-`: standard output.
        every_minute: Called in a thread while the server runs.
    """
    desk = Desk(council=council, token=token, limits=limits, cors=cors, aliases=aliases or {}, users=users)
    metrics = Metrics()
    routes = [Route(path, _answering(desk, dialect, metrics), methods=["POST"]) for path, dialect in DIALECTS.items()]
    routes += [
        Route("/", _page(desk)),
        Route("/chat/render", _admitted(desk, rendered), methods=["POST"]),
        Route("/health", _health(desk)),
        Route("/metrics", _metrics(desk, metrics)),
        Route("/v1/models", _admitted(desk, _models)),
        Route("/v1/models/{name:path}", _admitted(desk, _model)),
        Route("/v1/embeddings", _admitted(desk, _embeddings), methods=["POST"]),
    ]
    allowed = Middleware(
        CORSMiddleware,
        allow_origins=list(cors),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[ANSWERED_BY],
    )
    app = Starlette(
        routes=routes,
        middleware=[allowed] if cors else [],
        exception_handlers={404: _no_such_path, 405: _no_such_path},
        lifespan=_each_minute(every_minute) if every_minute else None,
    )
    return Observed(app, metrics, AccessLog(access_log) if access_log else None)


def _each_minute(work: Callable[[], object]) -> Any:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async def repeat() -> None:
            while True:
                with suppress(OSError):
                    await asyncio.to_thread(work)
                await asyncio.sleep(60)

        task = asyncio.create_task(repeat())
        yield
        task.cancel()

    return lifespan


def _answering(desk: Desk, dialect: Dialect, metrics: Metrics) -> Endpoint:
    async def answered(request: Request) -> Response:
        facts = request.scope.get(FACTS, {})
        try:
            user = desk.admit(request)
            question, writer = dialect.question(await desk.body(request))
            facts |= {"model": question.model, "stream": question.stream} | ({"user": user.name} if user else {})
            chosen = desk.council_of(question.model)
            desk.enter(user)
            metrics.busy.inc()

            def done(end: Conclusion | None) -> None:
                metrics.busy.dec()
                desk.leave(user, end)
                if end is not None:
                    metrics.answered(end)
                    facts.update(_of_the_answer(end))

            return await respond(request, chosen, question, writer, done=done)
        except Exception as error:
            failed = as_api_error(error)
            facts |= {"error": failed.body["error"]["code"]}
            return JSONResponse(dialect.error_body(failed), status_code=failed.status, headers=failed.headers)

    return answered


def _of_the_answer(end: Conclusion) -> dict[str, Any]:
    """What the access log says about an answer."""
    tokens = (end.usage or {}).get("total_tokens")
    receipt = end.receipt
    return {"receipt": receipt.get("id"), "answered_by": end.answered_by, "tokens": tokens, "cost": receipt.get("cost")}


def _metrics(desk: Desk, metrics: Metrics) -> Endpoint:
    async def told(request: Request) -> Response:
        try:
            desk.admit(request)
        except ApiError as error:
            return error.response()
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return told


def _admitted(desk: Desk, answer: Callable[[Request, Desk], Awaitable[Any]]) -> Endpoint:
    async def answered(request: Request) -> Response:
        try:
            desk.admit(request)
            return JSONResponse(await answer(request, desk))
        except Exception as error:
            return as_api_error(error).response()

    return answered


def _page(desk: Desk) -> Endpoint:
    """The page holds no secret, so it needs no token: it asks for one before its first question."""

    async def shown(request: Request) -> Response:
        try:
            desk.admit_host(request)
            return page(desk)
        except ApiError as error:
            return error.response()

    return shown


def _health(desk: Desk) -> Endpoint:
    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "requests": desk.busy})

    return health


async def _models(request: Request, desk: Desk) -> Any:
    data = desk.models()
    ends = {"has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return {"object": "list", "data": data} | ends


async def _model(request: Request, desk: Desk) -> Any:
    name = request.path_params["name"]
    desk.council_of(name)
    return next((told for told in desk.models() if told["id"] == name), None) or desk.models()[0] | {"id": name}


async def _embeddings(request: Request, desk: Desk) -> Any:
    return await embeddings(await desk.body(request), desk.council.router.encoder)


async def _no_such_path(request: Request, error: Any) -> Response:
    return ApiError(error.status_code, f"there is no {request.method} {request.url.path}").response()
