"""A chat model of another package, asked as the other hosts are: tools in its own form, errors of one kind."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from hafs.providers.bridge import Bridged
from hafs.providers.classify import before_sending, from_error, one_line
from hafs.providers.provider_error import Kind, ProviderError
from hafs.providers.tracing import Callbacks

KINDS: Mapping[str, Kind] = {
    "ModelConnectionError": "unreachable", "ModelTimeoutError": "timeout", "ContextOverflowError": "too_long",
}  # fmt: skip
"""LangChain's classes of errors (langchain-core 1.7); by name, because older releases have none."""


class LangChainChat(Bridged):
    """Wraps a chat model; its own cache and callbacks are not used."""

    inner: BaseChatModel
    model: str

    @property
    def _llm_type(self) -> str:
        return f"hafs-{self.inner._llm_type}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**dict(self.inner._identifying_params), "model_name": self.model}

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The model's complete answer."""
        try:
            return await self.inner._agenerate(messages, stop=stop, **self._call(params))
        except Exception as error:
            raise failure_of(error) from error

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The model's answer as a stream, or in one piece if it cannot stream."""
        try:
            stream = self.inner._astream(messages, stop=stop, **self._call(params))
            async with aclosing(stream) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk
        except Exception as error:
            raise failure_of(error) from error

    def _call(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a call; each package has its own form of tools."""
        call = dict(params)
        if tools := call.pop("tools", None):
            choice = {key: call.pop(key) for key in ("tool_choice", "parallel_tool_calls") if key in call}
            with before_sending():
                bound: Any = self.inner.bind_tools(tools, **choice)
                call |= bound.kwargs
        return call


def failure_of(error: Exception) -> ProviderError:
    """The `ProviderError` for an error of a package; LangChain's error classes say more than the status."""
    names = [cls.__name__ for cls in type(error).__mro__]
    kind: Kind | None = next((KINDS[name] for name in names if name in KINDS), None)
    if kind is None:
        return from_error(error)
    return ProviderError(kind, one_line(error), status=getattr(error, "status_code", None))
