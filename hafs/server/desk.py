"""Access: keys, the number of concurrent requests, and the council or expert that a model name means."""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from hafs.core.loopback import is_loopback
from hafs.council.chat_model import MODEL, Council
from hafs.server.api_error import ApiError
from hafs.server.dialect import Conclusion
from hafs.server.observed import cost_of
from hafs.server.users import User, Users

BODY_SECONDS = 30
"""The limit for a request body to arrive."""
ANY_NAME = "*"
"""The alias of every model name that is not known."""


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The limits of the server."""

    max_body_bytes: int
    max_requests: int
    """Requests that are answered concurrently."""


def key_of(request: Request) -> str:
    """The key in `Authorization: Bearer` or, as Anthropic's clients send it, in `x-api-key`; empty: none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.headers.get("x-api-key", "").strip()


@dataclass(kw_only=True)
class Desk:
    """Authorization, the concurrency limit, and the council or expert behind a model name."""

    council: Council
    token: str | None
    limits: RequestLimits
    cors: Sequence[str] = ()
    """Origins of web pages that may send requests."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names of models."""
    users: Users | None = None
    """Users with keys and budgets of their own; None: there is the token alone."""
    busy: int = 0
    _by_name: dict[str, Council] = field(default_factory=dict)

    def admit(self, request: Request) -> User | None:
        """The user of a request; None: it has the server's token, or needs none.

        Without keys, requests that other web pages cause are rejected.

        Raises:
            ApiError: 401 or 403.
        """
        key = key_of(request)
        if self.token is not None and hmac.compare_digest(key.encode(), self.token.encode()):
            return None
        if user := self.users.of(key) if self.users else None:
            return user
        if self.token is not None or self.users is not None:
            raise ApiError(401, "the request has no valid token", code="invalid_api_key")
        self.admit_host(request)
        origin = request.headers.get("origin")
        if origin and origin not in self.cors and urlsplit(origin).netloc != request.url.netloc:
            raise ApiError(403, f"the web page {origin} is not in cors=[...]", code="forbidden_origin")
        return None

    def admit_host(self, request: Request) -> None:
        """Without a token, reject requests to host names other than localhost, against DNS rebinding.

        Raises:
            ApiError: 403.
        """
        open_to_all = self.token is None and self.users is None
        if open_to_all and not is_loopback(request.url.hostname or ""):
            raise ApiError(403, "without a token only requests to localhost are answered", code="forbidden_host")

    def council_of(self, model: str) -> Council:
        """The whole council, or one of its experts alone.

        Raises:
            ApiError: 404, there is no such model.
        """
        for name in (model, self.aliases.get(model), self.aliases.get(ANY_NAME)):
            if name in (MODEL, "council"):
                return self.council
            for expert in self.council.panel.experts.values():
                if name in (expert.name, expert.model):
                    return self._by_name.setdefault(expert.name, self.council.alone(expert.name))
        raise ApiError(
            404, f"there is no model {model!r}; /v1/models lists them", param="model", code="model_not_found"
        )

    def models(self) -> list[dict[str, Any]]:
        """The council, each expert and each alias; with the fields of OpenAI's and of Anthropic's lists."""
        names = [MODEL, *(expert.model for expert in self.council.panel.experts.values())]
        names += [alias for alias in self.aliases if alias not in (*names, ANY_NAME)]
        return [described(name) for name in names]

    def enter(self, user: User | None) -> None:
        """Admit a request to those in progress, and count it for its user.

        Raises:
            ApiError: 429, the limit of concurrent requests, or a limit of the user, is reached.
        """
        most = self.limits.max_requests
        if self.busy >= most:
            raise ApiError(429, f"{most} requests are being answered", code="too_many_requests", retry_after=1)
        if user and self.users and (reached := self.users.usage.enter(user)):
            raise ApiError(
                429, f"the limit of {user.name!r} is reached: {reached} per day", kind="insufficient_quota",
                code="insufficient_quota", retry_after=self.users.usage.seconds_left(),
            )  # fmt: skip
        self.busy += 1

    def leave(self, user: User | None, end: Conclusion | None) -> None:
        """End a request, and count the usage of its answer; `end` is None if there was none."""
        self.busy -= 1
        if user and self.users and end:
            tokens = int((end.usage or {}).get("total_tokens") or 0)
            self.users.usage.leave(user, tokens=tokens, dollars=cost_of(end))

    async def body(self, request: Request) -> bytes:
        """The request's body.

        Raises:
            ApiError: 413 or 408.
        """
        limit, parts, size = self.limits.max_body_bytes, [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise ApiError(413, f"the body is longer than {limit} bytes", code="request_too_large")
        except TimeoutError as error:
            raise ApiError(408, f"the body did not arrive within {BODY_SECONDS} s") from error
        return b"".join(parts)


def described(name: str) -> dict[str, Any]:
    """A model as an entry of a list."""
    openai = {"id": name, "object": "model", "created": 0, "owned_by": "hafs"}
    return openai | {"type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
