"""A chat model over an ordered chain of providers that fails over without waiting for a dead one.

model = failover(providers, "coding")
model.invoke("Why?").response_metadata["attempts"]
"""

import asyncio
import atexit
import json
from collections.abc import AsyncIterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.providers.bridge import Bridged
from hafs.providers.candidate_queue import Candidate, CandidateQueue, candidates
from hafs.providers.failover_request import FailoverRequest
from hafs.providers.parameters import meaningful
from hafs.providers.policy import Policy, shipped_policy
from hafs.providers.provider import Provider, Tier
from hafs.providers.quota import Ledger, ledger_path
from hafs.providers.tracing import Callbacks
from hafs.providers.wellformed import refuse_malformed

CHARACTERS_A_TOKEN = 3.0
"""For prose and assembler; a low estimate, so that token counts are rather too high."""
TOKENS_A_MESSAGE = 6
NEEDED = frozenset({"tools", "response_format"})
"""Parameters that cannot be dropped without changing the request."""


@cache
def ledger_at(path: Path) -> Ledger:
    """The ledger of a file, shared within the process and flushed at exit."""
    ledger = Ledger(path)
    atexit.register(ledger.flush)
    return ledger


class Failover(Bridged):
    """Calls the providers in order; created by `failover`.

    Its answers carry in `response_metadata`: `provider`, `model_name`, `finish_reason`, `ended` (complete, continued or
    restarted) and `attempts`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=False, ignored_types=(cached_property,))

    providers: tuple[Any, ...]
    tier: str
    policy: Any
    ledger: Any
    adapter: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "hafs-failover"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        models = [f"{provider.name}/{provider.models[self.tier]}" for provider in self.providers]
        return {"model_name": ",".join(models), "tier": self.tier, "adapter": self.adapter, **self.parameters}

    @cached_property
    def order(self) -> list[Candidate]:
        """The candidates in order, while no quota is exhausted."""
        return candidates(self.providers, self.tier)  # type: ignore[arg-type]

    def request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks
    ) -> FailoverRequest:
        """A request that starts now, on the running loop.

        Raises:
            InputError: The messages or parameters are not valid text.
        """
        given = meaningful({**self.parameters, **params, **({"stop": stop} if stop else {})})
        refuse_malformed(messages, given)
        queue = CandidateQueue(
            order=self.order,
            policy=self.policy,
            ledger=self.ledger,
            tokens=tokens_of(messages, given),
            needs=NEEDED & given.keys(),
            deadline=asyncio.get_running_loop().time() + self.policy.deadline_seconds,
        )
        return FailoverRequest(
            messages=messages, parameters=given, queue=queue, policy=self.policy, adapter=self.adapter,
            callbacks=callbacks,
        )  # fmt: skip

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The first complete answer."""
        return await self.request(messages, stop, params, callbacks).whole()

    def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream; if a provider breaks off, the next one continues."""
        return self.request(messages, stop, params, callbacks).pieces()

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Bind tools in OpenAI's format; providers without tool support are skipped."""
        formed = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if tool_choice is not None:
            kwargs["tool_choice"] = _choice(tool_choice)
        return self.bind(tools=formed, **kwargs)


def failover(
    providers: Sequence[Provider],
    tier: Tier,
    *,
    policy: Policy | None = None,
    ledger: Ledger | None = None,
    adapter: str | None = None,
    **parameters: Any,
) -> Failover:
    """A chat model over a chain.

    Args:
        providers: In the order in which they are called.
        tier: Which model of each.
        policy: Timeouts and numbers of calls; None: the shipped default.
        ledger: Usage and backoffs; None: the user's ledger, shared by all processes.
        adapter: Name or folder of an expert's adapter, for hosts that serve adapters.
        parameters: temperature, max_tokens and so on; None: not set.

    Raises:
        ConfigError: No provider is configured, or none has its key and its packages.
    """
    if not providers:
        raise ConfigError("no provider is configured", hint="provider=local, or provider=openrouter,ollama")
    unusable = [why for provider in providers if (why := _unusable(provider))]
    if len(unusable) == len(providers):
        raise ConfigError("; ".join(fact for fact, _ in unusable), hint=unusable[0][1])
    return Failover(
        providers=tuple(providers),
        tier=tier,
        policy=policy or shipped_policy(),
        ledger=ledger or ledger_at(ledger_path()),
        adapter=adapter,
        parameters=parameters,
    )


def _unusable(provider: Provider) -> tuple[str, str] | None:
    """Why a provider cannot be used on this machine, and the fix; None: it can."""
    if variable := provider.host.missing_key():
        fact = f"provider {provider.name!r} has no key: {variable} is not set"
        return fact, f"export {variable}=... or choose provider=local"
    if package := provider.host.missing_package():
        return f"provider {provider.name!r} needs {package}, which is not installed", how_to_install(package)
    return None


def tokens_of(messages: Sequence[BaseMessage], params: dict[str, Any]) -> int:
    """Estimated tokens of the prompt plus the requested answer."""
    characters = sum(len(m.content) if isinstance(m.content, str) else len(str(m.text)) for m in messages)
    if params.get("tools"):
        characters += len(json.dumps(params["tools"], default=str))
    answer = params.get("max_tokens") or 0
    return int(characters / CHARACTERS_A_TOKEN) + TOKENS_A_MESSAGE * len(messages) + int(answer)


def _choice(choice: Any) -> Any:
    """A tool_choice in OpenAI's format."""
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    return choice
