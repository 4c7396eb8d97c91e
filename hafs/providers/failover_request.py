"""One request over a chain of candidates: the same policy for complete answers and for streams.

queue.next                   the next candidate; waits only if none is available
-> call with timeouts        attempt, first token, idle between tokens, deadline of the request
-> check the ending          no finish_reason, empty, filtered: errors like any other
-> an error                  is recorded in the ledger; the next candidate is called immediately
-> a broken stream           the next candidate continues the text, or restarts it (`stream_continuation.py`)
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from hafs.core.errors import AllProvidersDown
from hafs.providers.attempts import Attempt, table
from hafs.providers.candidate_queue import NEVER, Candidate, CandidateQueue
from hafs.providers.classify import from_error
from hafs.providers.deadlines import now, within
from hafs.providers.parse import THINKING
from hafs.providers.policy import Policy
from hafs.providers.provider_call import ProviderCall, call_of
from hafs.providers.provider_error import ProviderError
from hafs.providers.repetition import STOPPED, Repetition
from hafs.providers.reply import (
    Ending,
    check_ending,
    cost_of,
    finish_of,
    gathered,
    has_content,
    refuse_broken_calls,
    refuses_to_stream,
    thinking_in,
)
from hafs.providers.stream_continuation import StreamContinuation, go_on
from hafs.providers.tracing import Callbacks, asked, streamed
from hafs.providers.watched_answer import Watch

T = TypeVar("T")


@dataclass(kw_only=True)
class FailoverRequest:
    """Messages, parameters and the attempts so far."""

    messages: Sequence[BaseMessage]
    parameters: Mapping[str, Any]
    """Parameters that the caller set."""
    queue: CandidateQueue
    policy: Policy
    adapter: str | None
    callbacks: Callbacks = None
    """Callbacks of the traced run; None: not traced."""
    attempts: list[Attempt] = field(default_factory=list)
    error: ProviderError | None = None
    """Of the last attempt; None: it succeeded."""
    restarted: bool = False
    """Whether the reader saw the start of an answer that was then restarted."""

    async def whole(self) -> ChatResult:
        """The first complete answer.

        Raises:
            AllProvidersDown: No provider gave one in time.
        """
        while True:
            candidate = await self._next()
            with self._attempt(candidate) as attempt:
                others, latest = self.queue.others(candidate), self.queue.deadline
                work, limit = self._generation(attempt, others), self._limit(others)
                generation = await within(work, limit, "no complete answer", wait=attempt.queue, latest=latest)
                attempt.count(getattr(generation.message, "usage_metadata", None), cost_of(generation))
                attempt.served(generation.generation_info or {})
                check_ending(finish_of(generation), has_content(generation.message))
                refuse_broken_calls(generation)
                attempt.ended(now())
                self._sign(attempt, generation)
                return ChatResult.model_construct(generations=[generation])  # validated as a part of it already

    async def _generation(self, attempt: Attempt, others: bool) -> ChatGeneration:
        """One candidate's complete answer.

        While another candidate could answer, the answer is read as a stream, because only a stream shows that a host is
        alive. So hafs leaves a hanging host after `first_token_seconds`, as it does when the caller streams.
        """
        host = attempt.candidate.provider.host
        if host.local or not others:
            return await self._asked(attempt)
        try:
            if host.watches:
                return await self._asked(attempt, Watch(self.policy.first_token_seconds, self.policy.idle_seconds))
            end, call = Ending(), call_of(attempt, self.messages, self.parameters, self.adapter)
            return await gathered(self._parts(self._chunks(call, attempt), attempt, end), end)
        except ProviderError as error:
            if not refuses_to_stream(error):
                raise
        return await self._asked(attempt)

    async def _asked(self, attempt: Attempt, watch: Watch | None = None) -> ChatGeneration:
        call = call_of(attempt, self.messages, self.parameters, self.adapter, watch)
        return await asked(call.model, call.messages, call.parameters, self.callbacks, **self._run(attempt))

    def _chunks(self, call: ProviderCall, attempt: Attempt) -> AsyncIterator[ChatGenerationChunk]:
        return streamed(call.model, call.messages, call.parameters, self.callbacks, **self._run(attempt))

    async def pieces(self) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream; the first piece with content commits to its provider.

        Raises:
            AllProvidersDown: No provider completed an answer in time; `partial` is the text so far.
        """
        given, sealed = "", "response_format" in self.parameters
        how = "restart" if sealed and self.policy.on_cut == "continue" else self.policy.on_cut
        while True:
            candidate = await self._next(given)
            continuation = StreamContinuation(given, "continue" if how == "error" else how, sealed=sealed)
            with self._attempt(candidate) as attempt:
                async with aclosing(self._stream(attempt, continuation)) as stream:
                    async for chunk in stream:
                        yield chunk
                return
            given, self.restarted = continuation.answer, self.restarted or continuation.ended == "restarted"
            if given and how == "error":
                raise self._defeat(given)
            if self.error and self.error.kind == "unjoined":
                how = "restart"

    async def _stream(self, attempt: Attempt, continuation: StreamContinuation) -> AsyncGenerator[ChatGenerationChunk]:
        """One candidate's chunks, then the closing one; raises its error."""
        messages = list(self.messages)
        if continuation.given and continuation.how == "continue":
            given = continuation.given
            messages += [AIMessage(content=given.rstrip()), HumanMessage(content=go_on(given))]
        call = call_of(attempt, messages, self.parameters, self.adapter)
        end, repetition = Ending(), Repetition()
        async with aclosing(self._parts(self._chunks(call, attempt), attempt, end)) as parts:
            async for part in parts:
                if isinstance(part, ChatGenerationChunk):
                    yield part
                elif text := continuation.feed(part):
                    yield _piece(text)
                    if repetition.feed(text):
                        end.finish, end.info = "length", end.info | {"stopped": "repetition"}
                        yield _piece(STOPPED)
                        break
        attempt.count(end.usage, end.info.get("cost"))
        attempt.served(end.info)
        check_ending(end.finish, attempt.first_token_seconds is not None or bool(end.held))
        if text := continuation.end():
            yield _piece(text)
        for chunk in end.whole_calls():
            yield chunk
        attempt.ended(now())
        self._settle(attempt)
        self.restarted = self.restarted or continuation.ended == "restarted"
        yield self._closing(attempt, end, "restarted" if self.restarted else continuation.ended)

    async def _parts(
        self, chunks: AsyncIterator[ChatGenerationChunk], attempt: Attempt, end: Ending
    ) -> AsyncGenerator[str | ChatGenerationChunk]:
        """The texts of a stream from its first content on, and chunks of reasoning; `end` gets everything else."""
        blank = ""
        async with aclosing(self._timed(chunks, attempt)) as timed:
            async for chunk in timed:
                text = end.take(chunk)
                if thinking := thinking_in(chunk.message):
                    attempt.alive = True
                    message = AIMessageChunk(content="", additional_kwargs={THINKING: thinking})
                    yield ChatGenerationChunk(message=message)
                if text and attempt.first_token_seconds is None:
                    blank += text
                    if not blank.strip():
                        continue
                    text, attempt.first_token_seconds = blank, attempt.taken(now())
                if text:
                    yield text

    async def _timed(
        self, chunks: AsyncIterator[ChatGenerationChunk], attempt: Attempt
    ) -> AsyncGenerator[ChatGenerationChunk]:
        """The chunks, each within its time limit."""
        policy, candidate, count = self.policy, attempt.candidate, 0
        others = self.queue.others(candidate)
        first = policy.first_token_seconds if others or not candidate.provider.host.local else NEVER
        async with aclosing(chunks):  # type: ignore[type-var]
            while True:
                if attempt.first_token_seconds is None and not attempt.alive:
                    limit, why = attempt.began + attempt.wait.seconds + first, "no first token"
                else:
                    limit, why = now() + policy.idle_seconds, "no further token"
                try:
                    chunk = await within(anext(chunks), limit, why, wait=attempt.queue, latest=self.queue.deadline)
                except StopAsyncIteration:
                    return
                count += 1
                yield chunk
                took = attempt.taken(now())
                if took > policy.attempt_seconds and count < policy.slow_tokens_per_second * took and others:
                    raise ProviderError("timeout", f"only {count} pieces in {took:.0f} s")

    async def _next(self, given: str = "") -> Candidate:
        while True:
            candidate, wait = self.queue.next(now())
            if candidate is not None:
                return candidate
            if wait == NEVER:
                raise self._defeat(given)
            await asyncio.sleep(wait)

    @contextmanager
    def _attempt(self, candidate: Candidate) -> Iterator[Attempt]:
        """One call: its error is recorded and not raised, its end is recorded in the ledger."""
        attempt = Attempt(candidate=candidate, began=now())
        self.attempts.append(attempt)
        self.error = None
        try:
            yield attempt
        except Exception as error:
            self.error = failure = from_error(error)
            attempt.ended(now(), failure)
            self.queue.failed(candidate, failure, cut_short=self._cut_short(attempt))
        except BaseException:
            if not attempt.seconds:
                attempt.outcome = "cancelled"
                self.queue.ledger.leave(candidate.account, candidate.model, well=False)
            raise
        else:
            self._settle(attempt)

    def _cut_short(self, attempt: Attempt) -> bool:
        """Whether the request's deadline ended a call before the policy's own timeouts."""
        patience = min(self.policy.first_token_seconds, self.policy.attempt_seconds)
        took = attempt.seconds - attempt.queued_seconds
        return attempt.outcome == "timeout" and now() >= self.queue.deadline and took < patience

    def _settle(self, attempt: Attempt) -> None:
        """Record an answer in the ledger, once."""
        if not attempt.settled:
            attempt.settled = True
            candidate = attempt.candidate
            self.queue.ledger.leave(candidate.account, candidate.model, tokens=sum(attempt.tokens or ()), well=True)

    def _limit(self, others: bool) -> float:
        """The deadline of a complete answer: the attempt's while another candidate is available, else the request's."""
        latest = self.queue.deadline
        return min(now() + self.policy.attempt_seconds, latest) if others else latest

    def _run(self, attempt: Attempt) -> dict[str, Any]:
        """The name and metadata of an attempt's traced run."""
        provider, number = attempt.candidate.provider.name, len(self.attempts)
        facts = {"provider": provider, "attempt": number, "adapter": attempt.adapter}
        return {"name": f"{provider}/{attempt.candidate.model}", "facts": facts}

    def _sign(self, attempt: Attempt, generation: ChatGeneration) -> None:
        """Write the receipt into the message's metadata."""
        self._settle(attempt)
        generation.message.response_metadata = {
            **generation.message.response_metadata,
            **(generation.generation_info or {}),
            **self._receipt(attempt, "complete", finish_of(generation)),
        }

    def _closing(self, attempt: Attempt, end: Ending, ended: str) -> ChatGenerationChunk:
        metadata = {**end.info, **self._receipt(attempt, ended, end.finish)}
        message = AIMessageChunk(
            content="", usage_metadata=end.usage, response_metadata=metadata, chunk_position="last"
        )
        return ChatGenerationChunk(message=message)

    def _receipt(self, attempt: Attempt, ended: str, finish: str | None) -> dict[str, Any]:
        candidate = attempt.candidate
        return {
            "model_name": candidate.model,
            "provider": candidate.provider.name,
            "finish_reason": finish,
            "ended": ended,
            "attempts": [attempt.facts() for attempt in self.attempts],
        }

    def _defeat(self, given: str) -> AllProvidersDown:
        rows = table(self.attempts, self.queue.passed_over)
        late = now() >= self.queue.deadline
        what = f"no complete answer within {self.policy.deadline_seconds:g} s" if late else "no provider gave an answer"
        if given:
            what = f"the answer broke off after {len(given)} characters and no provider continued it"
        attempts = [attempt.facts() for attempt in self.attempts]
        causes, retry_after = self.queue.standing()
        causes = [*(attempt.outcome for attempt in self.attempts), *causes]
        return AllProvidersDown(
            f"{what}:\n{rows}", attempts=attempts, partial=given, causes=causes, retry_after=retry_after
        )


def _piece(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))
