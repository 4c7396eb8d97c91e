"""The local base as a LangChain chat model."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, cast

from langchain_core.language_models import LangSmithParams
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field

from hafs.chat import end_tokens, render
from hafs.core.errors import HafsError
from hafs.modeling.generation import Sampling
from hafs.modeling.generation.scoring import log_likelihoods, probabilities
from hafs.providers.classify import before_sending
from hafs.providers.engine import Engine
from hafs.providers.job import Delta, Job
from hafs.providers.local_names import known_model
from hafs.providers.local_tools import AnswerRequest, answer_request
from hafs.providers.plain_messages import conversation_of
from hafs.providers.provider_error import ProviderError
from hafs.providers.queue_wait import announced_wait
from hafs.providers.structured import ConstrainedChat
from hafs.providers.tracing import Callbacks


class LocalChat(ConstrainedChat):
    """Answers with the host's base and one adapter, batched with other requests.

    The last chunk or the message has `finish_reason` and `usage_metadata`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    host: Any
    model: str
    context: int | None = None
    """Context length in tokens, prompt and answer; None: the model's own."""
    adapter: Path | None = None
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    seed: int | None = None
    stop: list[str] | None = None
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for the complete answer; None: no limit."""

    @property
    def _llm_type(self) -> str:
        return "hafs-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model, "adapter": str(self.adapter) if self.adapter else None}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="hafs",
            ls_model_name=kwargs.get("model", self.model),
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens) or self.host.max_tokens,
            ls_stop=stop or self.stop or [],
        )

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        return self.host.engine(self.model)

    # one request ----------------------------------------------------------------------------------------------------

    async def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream."""
        async with aclosing(self._told(messages, stop, params)) as told:
            async for _, chunk in told:
                yield chunk

    async def _told(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any]
    ) -> AsyncGenerator[tuple[AnswerRequest, ChatGenerationChunk]]:
        """The request as it was read, with each chunk of its answer."""
        with before_sending():
            if other := params.pop("model", None):
                known_model(other)
                self = self.model_copy(update={"model": other})  # noqa: PLW0642
            if not self.engine.ready:
                await run_in_executor(None, lambda: self.engine.tokenizer)
        heard: asyncio.Queue[Delta | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(said: Delta | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(heard.put_nowait, said)

        with before_sending():
            asked = self._request(messages, params)
            job = self._job(asked, stop or self.stop or [], tell, params)
        try:
            self._submit(job)
            while True:
                said = await heard.get()
                if isinstance(said, Exception):
                    raise said
                if said.finish and asked.grammar and asked.grammar.error:
                    raise ProviderError("failed", f"the grammar of the answer failed: {asked.grammar.error}")
                message = asked.chunk(said.text, said.finish)
                if message is not None:
                    yield (
                        asked,
                        self._chunk(job, said._replace(finish=said.finish and asked.finish(said.finish)), message),
                    )
                if said.finish:
                    return
        finally:
            self.engine.cancel(job)

    def _submit(self, job: Job) -> None:
        """Queue a request; if others are before it, its wait ends when the engine admits it."""
        wait, loop = announced_wait(), asyncio.get_running_loop()

        def admit() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(wait.end)

        if self.engine.busy:
            job.admit = admit
            wait.begin()
        self.engine.submit(job)

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The complete answer."""
        told = [each async for each in self._told(messages, stop, params)]
        asked, last = told[-1]
        info, ended = last.generation_info or {}, cast("AIMessageChunk", last.message)
        message = asked.message(cast("AIMessageChunk", reduce(add, (chunk.message for _, chunk in told))))
        message.usage_metadata, message.response_metadata = ended.usage_metadata, dict(info)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    def _request(self, messages: Sequence[BaseMessage], params: Mapping[str, Any]) -> AnswerRequest:
        try:
            return answer_request(self.engine.tokenizer, messages, params)
        except HafsError as error:
            raise ProviderError("rejected", error.fact) from error

    def _job(self, asked: AnswerRequest, stop: Sequence[str], tell: Any, params: dict[str, Any]) -> Job:
        def word(name: str) -> Any:
            given = params.get(name)
            return getattr(self, name) if given is None else given

        timeout = word("timeout")
        return Job(
            asked.prompt,
            adapter=self.adapter,
            limit=self._limit(len(asked.prompt), word("max_tokens")),
            sampling=Sampling(temperature=word("temperature"), top_p=word("top_p"), seed=word("seed")),
            stop=stop,
            deadline=None if timeout is None else time.monotonic() + timeout,
            tell=tell,
            control_tokens=asked.calls is not None,
            grammar=asked.grammar,
        )

    def _prompt(self, messages: Sequence[BaseMessage]) -> list[int]:
        try:
            return render(self.engine.tokenizer, conversation_of(messages), for_generation=True).tokens
        except HafsError as error:
            raise ProviderError("rejected", error.fact) from error

    def _limit(self, prompt: int, wish: int | None) -> int:
        context = self.context or self.engine.tokenizer.model_max_length
        if prompt >= context:
            raise ProviderError("too_long", f"the prompt has {prompt} tokens, model {self.model!r} takes {context}")
        return max(1, min(wish or self.host.max_tokens, context - prompt))

    def _chunk(self, job: Job, said: Delta, message: AIMessageChunk) -> ChatGenerationChunk:
        info: dict[str, Any] = {}
        if said.finish:
            read = len(job.row.prompt)
            message.usage_metadata = UsageMetadata(
                input_tokens=read, output_tokens=said.tokens, total_tokens=read + said.tokens
            )
            info = {"finish_reason": said.finish, "model_name": self.model, "model_provider": "hafs"}
            message.response_metadata = dict(info)
            message.chunk_position = "last"
        return ChatGenerationChunk(message=message, generation_info=info or None)

    # a choice -------------------------------------------------------------------------------------------------------

    def score_labels(self, prompt: str | Sequence[BaseMessage], labels: Sequence[str]) -> dict[str, float]:
        """The probability of each label as the complete answer, normalized to 1.

        The labels' tokens are scored, end token included; nothing is generated and nothing is parsed.
        """
        messages = [HumanMessage(prompt)] if isinstance(prompt, str) else prompt
        tokenizer = self.engine.tokenizer
        ids = self._prompt(messages)
        self._limit(len(ids), None)
        end = end_tokens(tokenizer)[0]
        answers = [[*tokenizer(label, add_special_tokens=False)["input_ids"], end] for label in labels]
        asked = self.engine.call(lambda net, name_of: log_likelihoods(net, ids, answers, adapter=name_of(self.adapter)))
        return dict(zip(labels, probabilities(asked.result()), strict=True))
