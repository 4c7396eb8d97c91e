"""Asks many prompts at a time through one chat model, and notes each answer as it arrives."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

from hafs.chat import Conversation
from hafs.core.errors import HafsError
from hafs.evaluation.sampling.budget import Budget
from hafs.evaluation.sampling.journal import AnswerJournal, SampledAnswer
from hafs.evaluation.sampling.prompts import SamplingPrompt

SYNC_SECONDS = 1.0
"""How often answers are forced to the disk; a killed process loses none, a machine without power at most these."""


class SampleRequest(NamedTuple):
    """One answer to ask for."""

    prompt: SamplingPrompt
    draw: int

    @property
    def key(self) -> str:
        """Identifies the answer in the journal."""
        return f"{self.prompt.id}/{self.draw}"


class Asker:
    """Keeps `concurrency` requests in flight while the budget allows.

    Args:
        model: A LangChain chat model, usually a failover chain.
        journal: Gets the answers.
        budget: What may be spent.
        concurrency: Requests in flight.
        told: Called after each answer.
    """

    def __init__(
        self,
        model: Any,
        journal: AnswerJournal,
        budget: Budget,
        *,
        concurrency: int,
        told: Callable[[SampledAnswer], None] = lambda _: None,
    ) -> None:
        self.model, self.journal, self.budget, self.concurrency, self.told = model, journal, budget, concurrency, told
        self.on_their_way = 0
        self.failed: dict[str, HafsError] = {}
        """Why questions of this run have no answer, by key."""
        self._in_a_row = 0
        self._stop = False

    def ask(self, questions: Iterable[SampleRequest]) -> bool:
        """Ask what the journal does not hold yet. Returns whether everything was asked; False: the budget is spent.

        Raises:
            HafsError: As many requests as run at a time failed in a row; the answers so far are in the journal.
        """
        due = [question for question in questions if question.key not in self.journal.answers]
        return asyncio.run(self._ask(due)) if due else True

    async def _ask(self, due: Sequence[SampleRequest]) -> bool:
        self._stop, left = False, iter(due)
        self._free = asyncio.Event()
        syncing = asyncio.create_task(self._sync())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(due))):
                    group.create_task(self._work(left))
        except* HafsError as errors:
            raise errors.exceptions[0] from None
        finally:
            syncing.cancel()
            self.journal.sync()
        return not self._stop

    async def _work(self, left: Iterator[SampleRequest]) -> None:
        """Ask question after question, until none is left or the budget is spent."""
        while True:
            while not self._stop and not self.budget.allows(self.on_their_way):
                if not self.on_their_way:
                    self._stop = True
                    break
                self._free.clear()
                await self._free.wait()
            question = None if self._stop else next(left, None)
            if question is None:
                return
            self.on_their_way += 1
            try:
                await self._one(question)
            finally:
                self.on_their_way -= 1
                self._free.set()

    async def _one(self, question: SampleRequest) -> None:
        began = time.perf_counter()
        messages, tools = as_messages(question.prompt.conversation)
        model = self.model.bind_tools(tools) if tools else self.model
        try:
            said = await model.ainvoke(messages)
        except HafsError as error:
            self.failed[question.key] = error
            self._in_a_row += 1
            if self._in_a_row >= self.concurrency:
                raise
            return
        self._in_a_row = 0
        answer = noted(question, said, time.perf_counter() - began)
        self.journal.note(answer)
        self.budget.count(answer)
        self.told(answer)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self.journal.sync)


def noted(question: SampleRequest, said: AIMessage, seconds: float) -> SampledAnswer:
    """An answer as the journal holds it."""
    facts, usage = said.response_metadata, said.usage_metadata
    attempts = facts.get("attempts") or []
    costs = [attempt.get("cost") for attempt in attempts if attempt.get("outcome") == "answered" or attempt.get("cost")]
    known = bool(costs) and all(isinstance(cost, int | float) for cost in costs)
    calls = [
        {"type": "function", "function": {"name": call["name"], "arguments": call["args"]}} for call in said.tool_calls
    ]
    return SampledAnswer(
        key=question.key,
        prompt=question.prompt.id,
        draw=question.draw,
        text=str(said.text),
        calls=calls,
        provider=str(facts.get("provider", "")),
        model=str(facts.get("model_name", "")),
        cost=float(sum(costs)) if known else None,
        tokens=int((usage or {}).get("total_tokens") or 0),
        seconds=round(seconds, 4),
        time=round(time.time(), 3),
        ended=facts.get("finish_reason") != "length",
    )


def as_messages(conversation: Conversation) -> tuple[list[BaseMessage], list[dict[str, Any]]]:
    """A prompt as LangChain's messages, and its tools."""
    rows = [message.as_row() for message in conversation]
    for number, row in enumerate(rows):
        for key in ("tools", "weight", "reasoning_content"):
            row.pop(key, None)
        for place, call in enumerate(row.get("tool_calls", ())):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
            call.setdefault("id", f"call{number}_{place}")
        if row["role"] == "tool":
            row.setdefault("tool_call_id", f"call{number - 1}_0")
    return convert_to_messages(rows), [dict(tool) for tool in conversation[0].tools]
