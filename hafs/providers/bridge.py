"""The base class of all chat models of hafs: implements LangChain's four methods with two coroutines.

A model implements `answer` (complete) and `pieces` (streamed). Both get the callbacks for nested calls, so that a
tracer sees those as child runs.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, ensure_config

from hafs.providers import event_loops
from hafs.providers.tracing import Callbacks, below, below_run

_STREAMED: ContextVar[Callbacks] = ContextVar("streamed", default=None)
"""Callbacks of the stream that is starting: LangChain does not pass its run to `_astream`."""


class Bridged(BaseChatModel, ABC):
    """A chat model whose sync methods run its coroutines on hafs' own event loop."""

    @abstractmethod
    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The complete answer.

        Args:
            messages: The conversation.
            stop: Stop sequences.
            params: Of the answer: temperature, tools and so on.
            callbacks: For nested calls; None: not traced.
        """

    @abstractmethod
    def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream; same arguments as `answer`."""

    # LangChain's four ------------------------------------------------------------------------------------------------

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return await self.answer(messages, stop, kwargs, below_run(run_manager))

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return event_loops.run(self.answer(messages, stop, kwargs, below_run(run_manager)))

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        callbacks = below_run(run_manager) if run_manager else _STREAMED.get()
        async with aclosing(self.pieces(messages, stop, kwargs, callbacks)) as pieces:  # type: ignore[type-var]
            async for chunk in pieces:
                if run_manager and chunk.text:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        callbacks = below_run(run_manager) if run_manager else _STREAMED.get()
        for chunk in event_loops.iterate(lambda: self.pieces(messages, stop, kwargs, callbacks)):
            if run_manager and chunk.text:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    # where LangChain does not pass its run on -------------------------------------------------------------------------

    async def _agenerate_with_cache(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        with _streamed(below_run(run_manager)):
            return await super()._agenerate_with_cache(*args, run_manager=run_manager, **kwargs)

    def _generate_with_cache(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        with _streamed(below_run(run_manager)):
            return super()._generate_with_cache(*args, run_manager=run_manager, **kwargs)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        """Same as LangChain's, with nested calls as child runs."""
        config, callbacks = below(AsyncCallbackManager, ensure_config(config))
        async with aclosing(super().astream(input, config, stop=stop, **kwargs)) as stream:  # type: ignore[type-var]
            with _streamed(callbacks):
                first = await anext(stream, None)
            if first is not None:
                yield first
            async for chunk in stream:
                yield chunk

    def stream(
        self, input: Any, config: RunnableConfig | None = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Same as LangChain's, with nested calls as child runs."""
        config, callbacks = below(CallbackManager, ensure_config(config))
        stream = super().stream(input, config, stop=stop, **kwargs)
        with _streamed(callbacks):
            first = next(stream, None)
        if first is not None:
            yield first
        yield from stream


@contextmanager
def _streamed(callbacks: Callbacks) -> Iterator[None]:
    token = _STREAMED.set(callbacks)
    try:
        yield
    finally:
        _STREAMED.reset(token)


Bridged._agenerate.__signature__ = inspect.signature(Bridged._agenerate)  # type: ignore[attr-defined]
"""LangChain inspects it for every request."""
