"""One question on its way through the council.

route                     scores of all experts; one, several, or the default expert
-> one expert             its answer is the council's, streamed as it comes
-> several, in parallel   each with a deadline of its own; who fails is noted, not raised
   -> one answer stands   it is the council's
   -> several             the synthesizer merges them; who failed and why goes with them
-> receipt                in `response_metadata`, and as JSON in the receipts' folder
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hafs.core.errors import AllProvidersDown
from hafs.council.expert import Expert
from hafs.council.receipt import Part, Receipt
from hafs.council.router import Routing
from hafs.council.synthesizer import Said
from hafs.providers.failover import Failover
from hafs.providers.tracing import Callbacks, Step, step

MODEL = "hafs-council"
"""The council's own name among models."""
ALONE = frozenset({"tools", "response_format"})
"""With these, one expert answers: what they ask for cannot be merged."""


class Answering(Protocol):
    """What a turn asks of the council it belongs to."""

    router: Any
    synthesizer: Any
    receipts: Path | None

    @cached_property
    def models(self) -> dict[str, Failover]:
        """The chat model of each expert."""
        ...

    @cached_property
    def merger(self) -> Failover | None:
        """The chat model that merges answers."""
        ...

    def expert(self, name: str) -> Expert:
        """An expert of the panel."""
        ...

    async def aroute(self, question: str) -> Routing:
        """Who answers."""
        ...


@dataclass(kw_only=True)
class Turn:
    """Messages, what the caller asked of the answer, and the receipt."""

    council: Answering
    messages: list[BaseMessage]
    stop: list[str] | None
    words: dict[str, Any]
    callbacks: Callbacks = None
    """Of the run it belongs to."""
    receipt: Receipt = field(default_factory=Receipt)
    usage: UsageMetadata | None = None

    async def whole(self) -> ChatResult:
        """The answer.

        Raises:
            AllProvidersDown: Nobody gave one.
        """
        with self._recorded():
            picked = await self._pick()
            if len(picked) == 1:
                return self._finished(await self._alone(picked[0]))
            said, answers = await self._panel(picked)
            if len(answers) == 1:
                return self._finished(next(iter(answers.values())))
            return self._finished(await self._merged(said, answers))

    async def _merged(self, said: list[Said], answers: dict[str, AIMessage]) -> AIMessage:
        """The synthesizer's answer; the best expert's where nobody can merge."""
        merged = self.council.synthesizer.merge(self._question(), said)
        if isinstance(merged, str):
            return AIMessage(merged)
        try:
            async with self._part("synthesizer", self.council.synthesizer.name) as (part, run):
                return await self._call(self.council.merger, _messages(merged), part, run)  # type: ignore[arg-type]
        except AllProvidersDown:
            return next(iter(answers.values()))

    async def pieces(self) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as it comes: one expert's own stream, or the synthesizer's."""
        with self._recorded():
            picked = await self._pick()
            if len(picked) == 1:
                pieces = self._streamed_alone(picked[0])
            else:
                pieces = self._streamed_merge(*await self._panel(picked))
            async with aclosing(pieces) as stream:  # type: ignore[type-var]
                async for chunk in stream:
                    yield chunk
            yield self._closing()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """A question that nobody answers leaves a receipt too."""
        try:
            yield
        except AllProvidersDown:
            self.receipt.write(self.council.receipts)
            raise

    async def _pick(self) -> tuple[str, ...]:
        question = self._question()
        async with step(self.callbacks, "router", self.council.router.name, {"question": question}) as deciding:
            if deciding.callbacks is None:
                routing = await self.council.aroute(question)
            else:
                routing = await asyncio.create_task(self.council.aroute(question), context=deciding.context())
                deciding.outputs = {"picked": list(routing.picked), "scores": dict(routing.scores)}
        self.receipt.routing = routing
        return routing.picked[:1] if ALONE & self.words.keys() else routing.picked

    def _question(self) -> str:
        return next((str(m.text) for m in reversed(self.messages) if isinstance(m, HumanMessage)), "")

    async def _alone(self, name: str) -> AIMessage:
        expert = self.council.expert(name)
        async with self._part("expert", name) as (part, run):
            async with asyncio.timeout(expert.deadline_seconds):
                return await self._call(self.council.models[name], self._asked(expert), part, run)

    async def _streamed_alone(self, name: str) -> AsyncIterator[ChatGenerationChunk]:
        expert = self.council.expert(name)
        async with self._part("expert", name) as (part, run):
            async with asyncio.timeout(expert.deadline_seconds):
                async for chunk in self._pieces_of(self.council.models[name], self._asked(expert), part, run):
                    yield chunk

    async def _panel(self, picked: tuple[str, ...]) -> tuple[list[Said], dict[str, AIMessage]]:
        """What each expert said, the best first; and the whole messages of those that answered."""
        results = await asyncio.gather(*(self._alone(name) for name in picked), return_exceptions=True)
        scores = self.receipt.routing.scores if self.receipt.routing else {}
        said, answers = [], {}
        for name, result in zip(picked, results, strict=True):
            if isinstance(result, AIMessage):
                answers[name] = result
            elif not isinstance(result, Exception):
                raise result
            failed = "" if name in answers else _why(result)  # type: ignore[arg-type]
            text = str(answers[name].text) if name in answers else ""
            said.append(Said(expert=name, score=scores.get(name, 0.0), text=text, failed=failed))
        if not answers:
            raise _nobody(said, results)
        return said, answers

    async def _streamed_merge(
        self, said: list[Said], answers: dict[str, AIMessage]
    ) -> AsyncIterator[ChatGenerationChunk]:
        best = next(iter(answers.values()))
        merged = str(best.text) if len(answers) == 1 else self.council.synthesizer.merge(self._question(), said)
        if isinstance(merged, str):
            yield _text(merged)
            return
        begun = False
        try:
            async with self._part("synthesizer", self.council.synthesizer.name) as (part, run):
                async for chunk in self._pieces_of(self.council.merger, _messages(merged), part, run):  # type: ignore[arg-type]
                    begun = True
                    yield chunk
        except AllProvidersDown:
            if begun:
                raise
            yield _text(str(best.text))

    async def _call(self, model: Failover, messages: list[BaseMessage], part: Part, run: Step) -> AIMessage:
        result = await model.answer(messages, self.stop, self.words, run.callbacks)
        message: Any = result.generations[0].message
        run.outputs = {"answer": message.content}
        self._count(message.response_metadata, message.usage_metadata, part)
        return message

    async def _pieces_of(
        self, model: Failover, messages: list[BaseMessage], part: Part, run: Step
    ) -> AsyncIterator[ChatGenerationChunk]:
        said = []
        pieces = model.pieces(messages, self.stop, self.words, run.callbacks)
        async with aclosing(pieces) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                message: Any = chunk.message
                if message.response_metadata:
                    self._count(message.response_metadata, message.usage_metadata, part)
                else:
                    said.append(str(message.content))
                    yield chunk
        run.outputs = {"answer": "".join(said)}

    def _count(self, metadata: dict[str, Any], usage: UsageMetadata | None, part: Part) -> None:
        part.attempts = metadata.get("attempts", [])
        self.receipt.finish_reason = metadata.get("finish_reason") or "stop"
        self.receipt.ended = metadata.get("ended") or "complete"
        if usage:
            self.usage = add_usage(self.usage, usage)

    @asynccontextmanager
    async def _part(self, kind: Literal["expert", "synthesizer"], name: str) -> AsyncIterator[tuple[Part, Step]]:
        """An expert's or the synthesizer's lines of the receipt and its run, whatever becomes of it."""
        began = time.perf_counter()
        part = Part(name=name)
        if kind == "expert":
            part.score = self.receipt.routing.scores.get(name) if self.receipt.routing else None
            self.receipt.experts.append(part)
        else:
            self.receipt.synthesizer = part
        try:
            async with step(self.callbacks, kind, name, {"question": self._question()}) as run:
                yield part, run
        except TimeoutError as error:
            limit = self.council.expert(name).deadline_seconds
            part.outcome = f"no answer within {limit:g} s"
            raise AllProvidersDown(f"expert {name!r} gave {part.outcome}") from error
        except Exception as error:
            part.outcome, part.attempts = _why(error), list(getattr(error, "attempts", []))
            raise
        finally:
            part.seconds = time.perf_counter() - began

    def _asked(self, expert: Expert) -> list[BaseMessage]:
        """The conversation with the expert's own words in front."""
        if not expert.system:
            return self.messages
        first = self.messages[0] if self.messages else None
        if isinstance(first, SystemMessage):
            return [SystemMessage(f"{expert.system}\n\n{first.text}"), *self.messages[1:]]
        return [expert.said_first, *self.messages]

    def _metadata(self) -> dict[str, Any]:
        facts = self.receipt.write(self.council.receipts)
        ended = {"finish_reason": self.receipt.finish_reason, "ended": self.receipt.ended}
        return {"model_name": MODEL, **ended, "receipt": facts}

    def _finished(self, message: AIMessage) -> ChatResult:
        whole = AIMessage(
            content=message.content, tool_calls=message.tool_calls, invalid_tool_calls=message.invalid_tool_calls,
            usage_metadata=self.usage, response_metadata=self._metadata(),
        )  # fmt: skip
        return ChatResult(generations=[ChatGeneration(message=whole)])

    def _closing(self) -> ChatGenerationChunk:
        message = AIMessageChunk(
            content="", usage_metadata=self.usage, response_metadata=self._metadata(), chunk_position="last"
        )
        return ChatGenerationChunk(message=message)


def _text(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _messages(merged: list[dict[str, str]]) -> list[BaseMessage]:
    kinds = {"system": SystemMessage, "user": HumanMessage}
    return [kinds[part["role"]](part["content"]) for part in merged]


def _why(error: Exception) -> str:
    """A failure in one line."""
    lines = [line.strip() for line in str(getattr(error, "fact", "") or error).splitlines() if line.strip()]
    return "; ".join(lines[:4]) or type(error).__name__


def _nobody(said: list[Said], results: list[Any]) -> AllProvidersDown:
    rows = "\n".join(f"  {part.expert}: {part.failed}" for part in said)
    attempts = [attempt for result in results for attempt in getattr(result, "attempts", [])]
    return AllProvidersDown(f"no expert gave an answer:\n{rows}", attempts=attempts)
