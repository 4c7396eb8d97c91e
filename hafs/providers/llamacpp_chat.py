"""A model of our own llama.cpp server as a LangChain chat model."""

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
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from hafs.chat import end_tokens
from hafs.chat.template import control_tokens
from hafs.providers.bridge import Bridged
from hafs.providers.classify import before_sending
from hafs.providers.llamacpp_server import Served, Servers, servers
from hafs.providers.local_names import known_model
from hafs.providers.openai_client import Wire
from hafs.providers.plain_messages import text_of
from hafs.providers.prompted_tools import Ear, knows_tools, schema_of, system_first, told
from hafs.providers.provider_error import Refused
from hafs.providers.structured import Method, structured
from hafs.providers.tracing import Callbacks

_JOINER = "\u2060"
"""Invisible and without width; put into control tokens that people typed, which the server would take for real ones."""


class LlamaChat(Bridged):
    """Answers through the host's server and one adapter; the server starts with the first request."""

    model_config = ConfigDict(arbitrary_types_allowed=True, ignored_types=(cached_property,))

    host: Any
    model: str
    context: int = 8192
    adapter: Path | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """temperature, top_p, max_tokens, seed, stop and the like; greedy where nothing is said."""

    @property
    def _llm_type(self) -> str:
        return "hafs-llamacpp"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model, "adapter": str(self.adapter) if self.adapter else None, **self.parameters}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        words = {**self.parameters, **kwargs}
        return LangSmithParams(
            ls_provider="hafs",
            ls_model_name=words.get("model", self.model),
            ls_model_type="chat",
            ls_temperature=words.get("temperature", 0.0),
            ls_max_tokens=words.get("max_tokens") or self.host.max_tokens,
            ls_stop=stop or words.get("stop") or [],
        )

    @cached_property
    def base(self) -> Any:
        """The model's noun."""
        from hafs.config import build, compose

        return build(compose("train", [f"model={self.model}"]).model)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's, for what its template knows; the server tokenizes."""
        return self.base.tokenizer()

    @cached_property
    def control(self) -> re.Pattern[str]:
        """The tokenizer's control tokens, as text."""
        tokens = sorted(control_tokens(self.tokenizer), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, tokens)) or r"(?!)")

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the model's chat template knows tools; the server does all about them then."""
        return knows_tools(self.tokenizer)

    @cached_property
    def ends(self) -> list[int]:
        """Tokens that end an answer."""
        return end_tokens(self.tokenizer)

    @cached_property
    def servers(self) -> Servers:
        """Those of the model."""
        host = self.host
        folder = self.base.weights.loading(_folder)
        return servers(
            folder, kind=host.kind, context=self.context, slots=host.slots, threads=host.threads,
            template=self.base.own_template(),
        )  # fmt: skip

    def _asked(self, words: dict[str, Any]) -> "LlamaChat":
        """This model, or another one of the host where a call names it."""
        other = words.pop("model", None)
        if other is None or other == self.model:
            return self
        known_model(other)
        return LlamaChat(**{**{name: getattr(self, name) for name in type(self).model_fields}, "model": other})

    @asynccontextmanager
    async def _wire(self) -> AsyncIterator[Wire]:
        """A client of a server that knows the adapter; starting one keeps nobody else waiting."""
        with before_sending():
            served = await asyncio.to_thread(self._enter)
        try:
            yield self._client(served)
        finally:
            self.servers.leave(served)

    def _enter(self) -> Served:
        _ = self.control, self.shows_tools, self.ends
        return self.servers.enter(self.adapter)

    def _client(self, served: Served) -> Wire:
        from hafs.providers.llamacpp_server import adapter_file

        own = None if self.adapter is None else served.adapters[adapter_file(self.adapter, self.servers.base)]
        lora = [{"id": number, "scale": float(number == own)} for number in served.adapters.values()]
        return Wire(
            base_url=f"{served.url}/v1",
            model=self.model,
            account=self.host.account,
            api_key_env=None,
            headers={"authorization": f"Bearer {served.key}"},
            body={"lora": lora},
            parameters={"temperature": 0.0, "max_tokens": self.host.max_tokens, **self.parameters},
        )

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, words: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The server's answer as it comes."""
        with before_sending():
            asked, words = self._asked(words), held(words)
        async with asked._wire() as wire:
            with before_sending():
                messages, words, ear = asked._told(messages, words)
            async with aclosing(wire.pieces(messages, stop, words)) as stream:  # type: ignore[type-var]
                async for chunk in stream:
                    yield asked._named(ear.piece(chunk) if ear else chunk)

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, words: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The server's whole answer."""
        with before_sending():
            asked, words = self._asked(words), held(words)
        async with asked._wire() as wire:
            with before_sending():
                messages, words, ear = asked._told(messages, words)
            answer = (await wire.answer(messages, stop, words)).generations[0]
        return ChatResult(generations=[asked._named(ear.whole(answer) if ear else answer)])

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, Any]:
        """Tools in OpenAI's form; where the chat template knows none (SmolLM2), they are told in the prompt."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(
        self, schema: Any, *, method: Method = "json_schema", include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Answers as objects of a schema, to which the server holds them; see `structured`."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        return structured(self, schema, method=method, include_raw=include_raw)

    def _named(self, generation: Any) -> Any:
        if generation.generation_info and generation.generation_info.get("finish_reason"):
            info = {**generation.generation_info, "model_name": self.model, "model_provider": "hafs"}
            generation.generation_info = info
            generation.message.response_metadata = {**generation.message.response_metadata, **info}
        return generation

    def _told(
        self, messages: Sequence[BaseMessage], words: dict[str, Any]
    ) -> tuple[list[BaseMessage], dict[str, Any], Ear | None]:
        """The request as the server takes it, and who hears calls in its answer where it does not itself."""
        form = words.get("response_format") or {}
        if self.shows_tools:
            asked, ear = list(messages), None
        else:
            asked, words = told(messages, words, self.ends)
            ear = Ear() if "grammar" in words else None
        if form.get("type") == "json_schema":
            asked = system_first(asked, f"Answer in JSON that fits this schema: {json.dumps(schema_of(form))}")
        return self._plain(asked), words, ear

    def _plain(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Messages whose text holds no control token, as in the text path of training."""
        return [_without(message, self.control) for message in messages]


def held(words: Mapping[str, Any]) -> dict[str, Any]:
    """A call's words with a choice of tools in llama.cpp's words: `auto`, `none` or `required`.

    It knows no choice of one tool by name, so that one is offered alone, and required.

    Raises:
        Refused: The tool that is chosen is not among those offered.
    """
    choice = words.get("tool_choice")
    if choice is True or choice == "any":
        return {**words, "tool_choice": "required"}
    name = choice["function"]["name"] if isinstance(choice, Mapping) else choice
    if name in (None, False, "auto", "none", "required"):
        return {**words}
    named = [tool for tool in words.get("tools") or () if tool["function"]["name"] == name]
    if not named:
        raise Refused("rejected", f"tool_choice names {name!r}, which is not among the tools")
    return {**words, "tools": named, "tool_choice": "required"}


def _without(message: BaseMessage, control: re.Pattern[str]) -> BaseMessage:
    text = message.content if isinstance(message.content, str) else text_of(message)
    broken = control.sub(lambda found: found[0][0] + _JOINER + found[0][1:], text)
    return message if broken == message.content else message.model_copy(update={"content": broken})


def _folder(where: Any, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The folder of a model's weights; a hub's repository is downloaded if it is not there."""
    if Path(where).is_dir():
        return Path(where)
    from huggingface_hub import snapshot_download

    kept = ["*.json", "*.safetensors", "*.jinja", "*.txt"]
    return Path(
        snapshot_download(str(where), revision=revision, local_files_only=local_files_only, allow_patterns=kept)
    )
