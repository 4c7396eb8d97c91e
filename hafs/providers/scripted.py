"""A host without a model: answers by pattern, with configurable latency and faults.

A test double that is an option: `provider=scripted`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.providers.bridge import Bridged
from hafs.providers.provider import Health, Host
from hafs.providers.provider_error import KINDS, Kind, ProviderError
from hafs.providers.tracing import Callbacks

_CUT = re.compile(r"cut_after_(\d+)$")
_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")
_OTHERS = ("hang", "unfinished")
_NUMBERS = count(1)
Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Scripted(Host):
    """Answers from a table."""

    answers: Mapping[str, str]
    """Answers by pattern; the first that matches anywhere in the prompt. `{question}` is the last message."""
    otherwise: str
    """The answer if no pattern matches."""
    first_token_seconds: Seconds
    """Latency before an answer."""
    token_seconds: Seconds
    """Latency before each word."""
    faults: Sequence[str | None]
    """Faults, call by call; None: no fault."""
    repeat_faults: bool
    """Repeat the list of faults."""
    _calls: Iterator[int] = field(default_factory=count, init=False, repr=False, compare=False)
    _number: int = field(default_factory=lambda: next(_NUMBERS), init=False, repr=False)

    def __post_init__(self) -> None:
        for fault in self.faults:
            if fault and fault not in (*KINDS, *_OTHERS) and not _CUT.match(fault):
                known = ", ".join((*KINDS, *_OTHERS, "cut_after_N"))
                raise ConfigError(f"provider scripted does not know the fault {fault!r}", hint=f"known: {known}")

    @property
    def account(self) -> str:
        """Each script has its own account."""
        return f"~scripted-{self._number}"

    @property
    def carries_adapters(self) -> bool:
        """The adapter becomes part of the model's name."""
        return True

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> BaseChatModel:
        """A model that answers from the table."""
        return ScriptedChat(host=self, model=f"{model}+{adapter}" if adapter else model, watch=params.get("watch"))

    @property
    def watches(self) -> bool:
        """Its silence is reported as that of a real host."""
        return True

    def health(self) -> Health:
        """Always reachable."""
        return Health(key="not needed", reachable=True)

    def next_fault(self) -> str | None:
        """The fault of the next call."""
        call = next(self._calls)
        if not self.faults or (call >= len(self.faults) and not self.repeat_faults):
            return None
        return self.faults[call % len(self.faults)]

    def answer(self, messages: Sequence[BaseMessage]) -> str:
        """The answer from the table."""
        prompt = "\n".join(map(_text, messages))
        chosen = next((said for pattern, said in self.answers.items() if re.search(pattern, prompt)), self.otherwise)
        return chosen.replace("{question}", _text(messages[-1]))


class ScriptedChat(Bridged):
    """The chat model of a script."""

    host: Any
    model: str
    watch: Any = None
    """How long it may be silent while it makes a complete answer."""

    @property
    def _llm_type(self) -> str:
        return "hafs-scripted"

    async def _words(self, messages: Sequence[BaseMessage]) -> AsyncIterator[str]:
        """The answer word by word; raises, hangs or ends early with its fault."""
        fault = await self._begun()
        for word in self._said(messages, fault):
            if self.host.token_seconds:
                await asyncio.sleep(self.host.token_seconds)
            yield word
        if fault and fault != "unfinished":
            raise ProviderError("cut", f"as scripted, after {fault.removeprefix('cut_after_')} words")
        if fault:
            yield ""

    async def _begun(self) -> str | None:
        """Wait for the first token's latency; returns the fault of this call."""
        fault = self.host.next_fault()
        seconds = 3600.0 if fault == "hang" else self.host.first_token_seconds
        if self.watch and seconds > self.watch.first_token_seconds:
            await asyncio.sleep(self.watch.first_token_seconds)
            raise ProviderError("timeout", "no first token, as scripted")
        if seconds:
            await asyncio.sleep(seconds)
        if fault and not _CUT.match(fault) and fault != "unfinished":
            raise ProviderError(cast(Kind, fault), "as scripted")
        return fault

    def _said(self, messages: Sequence[BaseMessage], fault: str | None) -> list[str]:
        """The words of the answer, truncated by its fault."""
        words = _WORD.findall(self.host.answer(messages))
        cut = _CUT.match(fault) if fault else None
        return words[: int(cut[1])] if cut else words

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream of words."""
        count, last = 0, "-"
        async for word in self._words(messages):
            count, last = count + 1, word
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        info = {"finish_reason": "stop", "model_name": self.model} if last else {}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", usage_metadata=_usage(messages, count)), generation_info=info
        )

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The complete answer."""
        if not self.host.token_seconds and not self.host.faults:
            await self._begun()
            said, info = self.host.answer(messages), {"finish_reason": "stop"}
        else:
            given = [word async for word in self._words(messages)]
            said, info = "".join(given), {"finish_reason": "stop"} if given[-1:] != [""] else {}
        message = AIMessage(
            content=said,
            usage_metadata=_usage(messages, len(said.split())),
            response_metadata={"model_name": self.model},
        )
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])


def _usage(messages: Sequence[BaseMessage], words: int) -> UsageMetadata:
    asked = sum(len(_text(message).split()) for message in messages)
    return UsageMetadata(input_tokens=asked, output_tokens=words, total_tokens=asked + words)


def _text(message: BaseMessage) -> str:
    return message.content if isinstance(message.content, str) else str(message.text)
