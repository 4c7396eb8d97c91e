"""The council as one LangChain chat model."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict

from hafs.council.adapters import found
from hafs.council.expert import Expert
from hafs.council.request import MODEL, CouncilRequest
from hafs.council.router import Panel, Routing
from hafs.council.scorer import scorer
from hafs.providers import event_loops
from hafs.providers.bridge import Bridged
from hafs.providers.failover import Failover, failover
from hafs.providers.parameters import FURTHER, meaningful
from hafs.providers.provider import Tier
from hafs.providers.tracing import Callbacks
from hafs.providers.wellformed import refuse_malformed, refuse_malformed_text


class Council(Bridged):
    """Router, experts and synthesizer as one model; made by `hafs.council.council`.

    Its answers carry a receipt in `response_metadata["receipt"]`. With tools or with a response format, the best
    expert answers alone, because tool calls and JSON documents cannot be merged.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, ignored_types=(cached_property,))

    panel: Any
    router: Any
    synthesizer: Any
    providers: tuple[Any, ...]
    policy: Any = None
    receipts: Path | None = None
    """Folder of the receipts; None: they are in the responses only."""
    ledger: Any = None

    @property
    def _llm_type(self) -> str:
        return MODEL

    @property
    def _identifying_params(self) -> dict[str, Any]:
        providers = [provider.name for provider in self.providers]
        return {"model_name": MODEL, "experts": list(self.panel.experts), "providers": providers}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            **super()._get_ls_params(stop=stop, **kwargs),
            "ls_provider": "hafs",
            "ls_model_name": kwargs.get("model", MODEL),
        }

    def chain(self, tier: Tier, **parameters: Any) -> Failover:
        """The chat model of a tier over this council's providers."""
        return failover(self.providers, tier, policy=self.policy, ledger=self.ledger, **parameters)

    @cached_property
    def models(self) -> dict[str, Failover]:
        """The chat model of each expert.

        Raises:
            ConfigError: An adapter is missing or made for another base, or no provider has its key.
        """
        made = {}
        for name, expert in self.panel.experts.items():
            adapter = found(expert, self.providers)
            made[name] = self.chain(expert.tier, adapter=adapter, max_tokens=expert.max_tokens)
        return made

    @cached_property
    def merger(self) -> Failover | None:
        """The chat model that merges answers; None if the synthesizer needs none."""
        if self.synthesizer.tier is None:
            return None
        return self.chain(self.synthesizer.tier, max_tokens=self.synthesizer.max_tokens)

    @cached_property
    def deciding(self) -> Panel:
        """The panel, with the models that its router may ask.

        Raises:
            ConfigError: The router's adapter is missing or made for another base, or no provider has its key.
        """
        score = scorer(self.router.adapters, self.providers)
        return replace(self.panel, fast=self.chain("fast"), scorer=score)

    def load(self) -> None:
        """Load what the first question would load: the router's files, local models, clients of hosts.

        Raises:
            ConfigError: As `models`, `merger` and `deciding`.
        """
        _ = self.models, self.merger
        self.router.load(self.deciding)
        for provider in self.providers:
            provider.load()

    def expert(self, name: str) -> Expert:
        """An expert of the panel."""
        return self.panel.experts[name]

    def alone(self, name: str) -> "Council":
        """A council of one of its experts."""
        panel = replace(self.panel, experts={name: self.panel.experts[name]}, default=name)
        return self.model_copy(update={"panel": panel})

    def route(self, question: LanguageModelInput) -> Routing:
        """The routing of a question: scores, and who would answer. No expert is called.

        Args:
            question: A text, or messages in any form that `invoke` takes. A follow-up is routed by its conversation.
        """
        return event_loops.run(self.aroute(question))

    async def aroute(self, question: LanguageModelInput) -> Routing:
        """As `route`."""
        turns = turns_of(self._convert_input(question).to_messages())
        for text in turns:
            refuse_malformed_text(text, "the question")
        if len(self.panel.experts) == 1:
            name = next(iter(self.panel.experts))
            return Routing(scores={name: 1.0}, picked=(name,), decided_by="only expert", seconds=0)
        return await self.router.route(turns, self.deciding)

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks
    ) -> CouncilRequest:
        given = meaningful(params | (params.pop(FURTHER, None) or {}))
        refuse_malformed(messages, given)
        given.pop("model", None)  # the config decides on the experts' models
        return CouncilRequest(
            council=self, messages=list(messages), stop=stop or None, parameters=given, callbacks=callbacks
        )

    async def answer(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> ChatResult:
        """The whole answer."""
        return await self._request(messages, stop, params, callbacks).whole()

    def pieces(
        self, messages: list[BaseMessage], stop: list[str] | None, params: dict[str, Any], callbacks: Callbacks = None
    ) -> AsyncIterator[ChatGenerationChunk]:
        """The answer as a stream."""
        return self._request(messages, stop, params, callbacks).pieces()

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Tools in OpenAI's form; the best expert answers alone, from providers that take tools."""
        bound: Any = self.chain("coding").bind_tools(tools, tool_choice=tool_choice, strict=strict, **kwargs)
        return self.bind(**bound.kwargs)


def turns_of(messages: Sequence[BaseMessage]) -> list[str]:
    """The user's texts in a conversation, oldest first; if there are none, all texts joined."""
    said = [str(m.text) for m in messages if isinstance(m, HumanMessage) and str(m.text).strip()]
    return said or ["\n\n".join(str(m.text) for m in messages)]
