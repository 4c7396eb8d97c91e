"""The llama.cpp server of hafs as a LangChain chat model."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.language_models import LangSmithParams
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from hafs.chat import end_tokens
from hafs.chat.template import control_tokens
from hafs.providers.classify import before_sending
from hafs.providers.llamacpp_server import RunningServer, Servers, servers
from hafs.providers.local_names import known_model
from hafs.providers.openai_client import OpenAIClient
from hafs.providers.plain_messages import text_of
from hafs.providers.prompted_tools import ToolCallParser, knows_tools, prompted, schema_of, system_first
from hafs.providers.provider_error import ProviderError
from hafs.providers.queue_wait import announced_wait
from hafs.providers.structured import ConstrainedChat
from hafs.providers.tracing import Callbacks

_JOINER = "\u2060"
"""An invisible character that breaks up control tokens in user text, which the server would parse as real ones."""


class LlamaChat(ConstrainedChat):
    """Answers with the host's server and one adapter; the server starts with the first request."""

    model_config = ConfigDict(arbitrary_types_allowed=True, ignored_types=(cached_property,))

    host: Any
    model: str
    context: int = 8192
    adapter: Path | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """temperature, top_p, max_tokens, seed, stop and the like; greedy by default."""

    @property
    def _llm_type(self) -> str:
        return "hafs-llamacpp"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model, "adapter": str(self.adapter) if self.adapter else None, **self.parameters}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = {**self.parameters, **kwargs}
        return LangSmithParams(
            ls_provider="hafs",
            ls_model_name=params.get("model", self.model),
            ls_model_type="chat",
            ls_temperature=params.get("temperature", 0.0),
            ls_max_tokens=params.get("max_tokens") or self.host.max_tokens,
            ls_stop=stop or params.get("stop") or [],
        )

    @cached_property
    def base(self) -> Any:
        """The model's component."""
        from hafs.config import build, compose

        return build(compose("train", [f"model={self.model}"]).model)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, used for its template; the server tokenizes."""
        return self.base.tokenizer()

    @cached_property
    def control(self) -> re.Pattern[str]:
        """The tokenizer's control tokens, as text."""
        tokens = sorted(control_tokens(self.tokenizer), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, tokens)) or r"(?!)")

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the chat template supports tools; the server handles them then."""
        return knows_tools(self.tokenizer)

    @cached_property
    def ends(self) -> list[int]:
        """Tokens that end an answer."""
        return end_tokens(self.tokenizer)

    @cached_property
    def servers(self) -> Servers:
        """The servers of the model."""
        host = self.host
        folder = self.base.weights.loading(_folder)
        return servers(
            folder, kind=host.kind, context=self.context, slots=host.slots, threads=host.threads,
            template=self.base.own_template(),
        )  # fmt: skip

    def _asked(self, params: dict[str, Any]) -> "LlamaChat":
        """This model, or the one that the call names."""
        other = params.pop("model", None)
        if other is None or other == self.model:
            return self
        known_model(other)
        return LlamaChat(**{**{name: getattr(self, name) for name in type(self).model_fields}, "model": other})

    @asynccontextmanager
    async def _client_of(self) -> AsyncIterator[OpenAIClient]:
        """A client of a server with the adapter, in its turn; starting one does not block the event loop."""
        wait = announced_wait()
        with before_sending():
            ready = await asyncio.to_thread(lambda: self.servers)
        async with ready.turns.turn(self.adapter, wait):
            with before_sending():
                served = await asyncio.to_thread(self._enter)
            try:
                yield self._client(served)
            finally:
                ready.leave(served)

    def _enter(self) -> RunningServer:
        _ = self.control, self.shows_tools, self.ends
        return self.servers.enter(self.adapter)

    def _client(self, served: RunningServer) -> OpenAIClient:
        from hafs.providers.llamacpp_server import adapter_file

        own = None if self.adapter is None else served.adapters[adapter_file(self.adapter, self.servers.base)]
        lora = [{"id": number, "scale": float(number == own)} for number in served.adapters.values()]
        return OpenAIClient(
            base_url=f"{served.url}/v1",
            model=self.model,
            account=self.host.account,
            api_key_env=None,
            headers={"authorization": f"Bearer {served.key}"},
            body={"lora": lora},
            parameters={"temperature": 0.0, "max_tokens": self.host.max_tokens, **self.parameters},
        )

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The server's answer as a stream."""
        with before_sending():
            asked, params = self._asked(params), adapted_choice(params)
        async with asked._client_of() as client:
            with before_sending():
                messages, params, parser = asked._adapted(messages, params)
            async with aclosing(client.pieces(messages, stop, params)) as stream:  # type: ignore[type-var]
                async for chunk in stream:
                    yield asked._named(parser.piece(chunk) if parser else chunk)

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The server's complete answer."""
        with before_sending():
            asked, params = self._asked(params), adapted_choice(params)
        async with asked._client_of() as client:
            with before_sending():
                messages, params, parser = asked._adapted(messages, params)
            answer = (await client.answer(messages, stop, params)).generations[0]
        return ChatResult(generations=[asked._named(parser.whole(answer) if parser else answer)])

    def _named(self, generation: Any) -> Any:
        if generation.generation_info and generation.generation_info.get("finish_reason"):
            info = {**generation.generation_info, "model_name": self.model, "model_provider": "hafs"}
            generation.generation_info = info
            generation.message.response_metadata = {**generation.message.response_metadata, **info}
        return generation

    def _adapted(
        self, messages: Sequence[BaseMessage], params: dict[str, Any]
    ) -> tuple[list[BaseMessage], dict[str, Any], ToolCallParser | None]:
        """The request in the server's format, and a parser of tool calls where the server does not parse them."""
        form = params.get("response_format") or {}
        if self.shows_tools:
            asked, parser = list(messages), None
        else:
            asked, params = prompted(messages, params, self.ends)
            parser = ToolCallParser() if "grammar" in params else None
        if form.get("type") == "json_schema":
            asked = system_first(asked, f"Answer in JSON that fits this schema: {json.dumps(schema_of(form))}")
        return self._plain(asked), params, parser

    def _plain(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Messages without control tokens in their text, as in training."""
        return [_without(message, self.control) for message in messages]


def adapted_choice(params: Mapping[str, Any]) -> dict[str, Any]:
    """A call's parameters with llama.cpp's values of tool_choice: `auto`, `none` or `required`.

    It does not support choosing a tool by name; that tool is offered alone, and required.

    Raises:
        ProviderError: The chosen tool is not among those offered.
    """
    choice = params.get("tool_choice")
    if choice is True or choice == "any":
        return {**params, "tool_choice": "required"}
    name = choice["function"]["name"] if isinstance(choice, Mapping) else choice
    if name in (None, False, "auto", "none", "required"):
        return {**params}
    named = [tool for tool in params.get("tools") or () if tool["function"]["name"] == name]
    if not named:
        raise ProviderError("rejected", f"tool_choice names {name!r}, which is not among the tools")
    return {**params, "tools": named, "tool_choice": "required"}


def _without(message: BaseMessage, control: re.Pattern[str]) -> BaseMessage:
    text = message.content if isinstance(message.content, str) else text_of(message)
    broken = control.sub(lambda found: found[0][0] + _JOINER + found[0][1:], text)
    return message if broken == message.content else message.model_copy(update={"content": broken})


def _folder(where: Any, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The folder of a model's weights; a hub repository is downloaded if missing."""
    if Path(where).is_dir():
        return Path(where)
    from huggingface_hub import snapshot_download

    kept = ["*.json", "*.safetensors", "*.jinja", "*.txt"]
    return Path(
        snapshot_download(str(where), revision=revision, local_files_only=local_files_only, allow_patterns=kept)
    )
