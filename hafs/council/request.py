"""One request to the council.

route                     scores of all experts; one, several, or the default expert
-> one expert             the council streams its answer
-> several, in parallel   each has its own deadline; a failure is recorded, not raised
   -> one answered        its answer is the council's
   -> several answered    the synthesizer merges the answers; it is told who failed and why
-> receipt                in `response_metadata`, and as JSON in the receipts folder

`policy.deadline_seconds` limits the request as a whole. A panel leaves a part of it to the synthesizer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hafs.core.errors import AllProvidersDown
from hafs.council.expert import Expert
from hafs.council.merging import no_answer, reason_of, text_chunk, with_conversation
from hafs.council.receipt import Part, Receipt
from hafs.council.router import Routing
from hafs.council.synthesizer import ExpertAnswer
from hafs.providers.failover import Failover
from hafs.providers.policy import shipped_policy
from hafs.providers.tracing import Callbacks, Step, step

MODEL = "hafs-council"
"""The council's own name among models."""
ALONE = frozenset({"tools", "response_format"})
"""With these parameters one expert answers alone: several answers could not be merged."""
EXPERTS_SHARE = 0.7
"""The share of the time until the deadline that the experts of a panel get; the synthesizer gets the rest."""


class Answering(Protocol):
    """The parts of a council that a request uses."""

    router: Any
    synthesizer: Any
    policy: Any
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

    async def aroute(self, question: Any) -> Routing:
        """Who answers."""
        ...


@dataclass(kw_only=True)
class CouncilRequest:
    """The messages, the parameters of the answer, and the receipt."""

    council: Answering
    messages: list[BaseMessage]
    stop: list[str] | None
    parameters: dict[str, Any]
    callbacks: Callbacks = None
    """The callbacks of the run that the request belongs to."""
    receipt: Receipt = field(default_factory=Receipt)
    usage: UsageMetadata | None = None
    _deadline: float = 0.0
    """The deadline of the request, on the loop's clock."""
    _logprobs: Any = None
    """Of the last answer, if the provider told them."""

    async def whole(self) -> ChatResult:
        """The whole answer.

        Raises:
            AllProvidersDown: No expert answered.
        """
        with self._recorded():
            picked = await self._pick()
            if len(picked) == 1:
                return self._finished(await self._alone(picked[0]))
            said, answers = await self._panel(picked)
            if len(answers) == 1:
                return self._finished(next(iter(answers.values())))
            return self._finished(await self._merged(said, answers))

    async def _merged(self, said: list[ExpertAnswer], answers: dict[str, AIMessage]) -> AIMessage:
        """The synthesizer's answer; the best expert's answer where no provider can merge."""
        merged = self.council.synthesizer.merge(self._question(), said)
        if isinstance(merged, str):
            return AIMessage(merged)
        try:
            with self._part("synthesizer", name := self.council.synthesizer.name, self._deadline) as part:
                async with self._step("synthesizer", name) as run, asyncio.timeout_at(self._deadline):
                    asked = with_conversation(merged, self.messages)
                    return await self._call(self.council.merger, asked, part, run)  # type: ignore[arg-type]
        except AllProvidersDown:
            return next(iter(answers.values()))

    async def pieces(self) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream: one expert's, or the synthesizer's."""
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
        """Set the deadline; a request that fails leaves a receipt too."""
        policy = self.council.policy or shipped_policy()
        self._deadline = asyncio.get_running_loop().time() + policy.deadline_seconds
        try:
            yield
        except AllProvidersDown:
            self.receipt.write(self.council.receipts)
            raise

    async def _pick(self) -> tuple[str, ...]:
        question, messages = self._question(), self.messages
        async with step(self.callbacks, "router", self.council.router.name, {"question": question}) as deciding:
            if deciding.callbacks is None:
                routing = await self.council.aroute(messages)
            else:
                routing = await asyncio.create_task(self.council.aroute(messages), context=deciding.context())
                deciding.outputs = {"picked": list(routing.picked), "scores": dict(routing.scores)}
        self.receipt.routing = routing
        return routing.picked[:1] if ALONE & self.parameters.keys() else routing.picked

    def _question(self) -> str:
        return next((str(m.text) for m in reversed(self.messages) if isinstance(m, HumanMessage)), "")

    async def _alone(self, name: str, limit: float | None = None) -> AIMessage:
        """An expert's answer; `limit` is its latest time on the loop's clock, beside its own deadline."""
        expert = self.council.expert(name)
        with self._part("expert", name, limit := self._limit(expert, limit)) as part:
            async with self._step("expert", name) as run, asyncio.timeout_at(limit):
                return await self._call(self.council.models[name], self._asked(expert), part, run)

    async def _streamed_alone(self, name: str) -> AsyncIterator[ChatGenerationChunk]:
        expert = self.council.expert(name)
        with self._part("expert", name, limit := self._limit(expert)) as part:
            async with self._step("expert", name) as run, asyncio.timeout_at(limit):
                async for chunk in self._pieces_of(self.council.models[name], self._asked(expert), part, run):
                    yield chunk

    def _limit(self, expert: Expert, limit: float | None = None) -> float:
        own = asyncio.get_running_loop().time() + expert.deadline_seconds
        return min(own, self._deadline if limit is None else limit)

    async def _panel(self, picked: tuple[str, ...]) -> tuple[list[ExpertAnswer], dict[str, AIMessage]]:
        """The answer of each expert, ordered by score; and the whole messages of those that answered."""
        now = asyncio.get_running_loop().time()
        limit = now + EXPERTS_SHARE * (self._deadline - now)
        results = await asyncio.gather(*(self._alone(name, limit) for name in picked), return_exceptions=True)
        scores = self.receipt.routing.scores if self.receipt.routing else {}
        said, answers = [], {}
        for name, result in zip(picked, results, strict=True):
            if isinstance(result, AIMessage):
                answers[name] = result
            elif not isinstance(result, Exception):
                raise result
            failed = "" if name in answers else reason_of(result)  # type: ignore[arg-type]
            text = str(answers[name].text) if name in answers else ""
            said.append(ExpertAnswer(expert=name, score=scores.get(name, 0.0), text=text, failed=failed))
        if not answers:
            raise no_answer(said, results)
        return said, answers

    async def _streamed_merge(
        self, said: list[ExpertAnswer], answers: dict[str, AIMessage]
    ) -> AsyncIterator[ChatGenerationChunk]:
        best = next(iter(answers.values()))
        merged = str(best.text) if len(answers) == 1 else self.council.synthesizer.merge(self._question(), said)
        if isinstance(merged, str):
            yield text_chunk(merged)
            return
        begun, merger = False, self.council.merger
        assert merger is not None
        try:
            with self._part("synthesizer", name := self.council.synthesizer.name, self._deadline) as part:
                async with self._step("synthesizer", name) as run, asyncio.timeout_at(self._deadline):
                    async for chunk in self._pieces_of(merger, with_conversation(merged, self.messages), part, run):
                        begun = True
                        yield chunk
        except AllProvidersDown:
            if begun:
                raise
            yield text_chunk(str(best.text))

    async def _call(self, model: Failover, messages: list[BaseMessage], part: Part, run: Step) -> AIMessage:
        result = await model.answer(messages, self.stop, self.parameters, run.callbacks)
        message: Any = result.generations[0].message
        run.outputs = {"answer": message.content}
        self._count(message.response_metadata, message.usage_metadata, part)
        return message

    async def _pieces_of(
        self, model: Failover, messages: list[BaseMessage], part: Part, run: Step
    ) -> AsyncIterator[ChatGenerationChunk]:
        said = []
        pieces = model.pieces(messages, self.stop, self.parameters, run.callbacks)
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
        self._logprobs = metadata.get("logprobs")
        if usage:
            self.usage = add_usage(self.usage, usage)

    def _step(self, kind: str, name: str) -> AbstractAsyncContextManager[Step]:
        return step(self.callbacks, kind, name, {"question": self._question()})

    @contextmanager
    def _part(self, kind: Literal["expert", "synthesizer"], name: str, limit: float) -> Iterator[Part]:
        """The part of the receipt about an expert or the synthesizer, whether it answers or fails."""
        seconds = round(limit - asyncio.get_running_loop().time(), 2)
        began = time.perf_counter()
        part = Part(name=name)
        if kind == "expert":
            part.score = self.receipt.routing.scores.get(name) if self.receipt.routing else None
            self.receipt.experts.append(part)
        else:
            self.receipt.synthesizer = part
        try:
            yield part
        except TimeoutError as error:
            part.outcome = f"no answer within {seconds:g} s"
            raise AllProvidersDown(f"{kind} {name!r} gave {part.outcome}") from error
        except Exception as error:
            part.outcome, part.attempts = reason_of(error), list(getattr(error, "attempts", []))
            raise
        finally:
            part.seconds = time.perf_counter() - began

    def _asked(self, expert: Expert) -> list[BaseMessage]:
        """The conversation, after the expert's system prompt."""
        if not expert.system:
            return self.messages
        first = self.messages[0] if self.messages else None
        if isinstance(first, SystemMessage):
            return [SystemMessage(f"{expert.system}\n\n{first.text}"), *self.messages[1:]]
        return [expert.said_first, *self.messages]

    def _metadata(self) -> dict[str, Any]:
        facts = self.receipt.write(self.council.receipts)
        ended: dict[str, Any] = {"finish_reason": self.receipt.finish_reason, "ended": self.receipt.ended}
        if self._logprobs:
            ended["logprobs"] = self._logprobs
        return {"model_name": MODEL, **ended, "receipt": facts}

    def _finished(self, message: AIMessage) -> ChatResult:
        whole = AIMessage(
            content=message.content, additional_kwargs=message.additional_kwargs, tool_calls=message.tool_calls,
            invalid_tool_calls=message.invalid_tool_calls,
            usage_metadata=self.usage, response_metadata=self._metadata(),
        )  # fmt: skip
        return ChatResult(generations=[ChatGeneration(message=whole)])

    def _closing(self) -> ChatGenerationChunk:
        message = AIMessageChunk(
            content="", usage_metadata=self.usage, response_metadata=self._metadata(), chunk_position="last"
        )
        return ChatGenerationChunk(message=message)
