"""Ollama's chat model with a warning when a prompt was truncated."""

import warnings
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_ollama import ChatOllama

from hafs.providers.classify import before_sending


class OllamaChat(ChatOllama):
    """Warns when the prompt filled the whole context, so that Ollama truncated it."""

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._check(messages, stop, kwargs)
        async for chunk in super()._astream(messages, stop, **kwargs):
            self._warn_of_truncation(chunk.message)
            yield chunk

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        self._check(messages, stop, kwargs)
        result = await super()._agenerate(messages, stop, **kwargs)
        self._warn_of_truncation(result.generations[0].message)
        return result

    def _check(self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any]) -> None:
        """Build the request once in advance: an error here is not the server's."""
        with before_sending():
            self._chat_params(messages, stop, **params)

    def _warn_of_truncation(self, message: Any) -> None:
        read = (getattr(message, "usage_metadata", None) or {}).get("input_tokens", 0)
        if self.num_ctx and read >= self.num_ctx - 1:
            warnings.warn(
                f"ollama model {self.model!r} read {read} tokens, as many as num_ctx allows: the prompt was cut off;"
                f" raise context of the provider",
                stacklevel=2,
            )
