"""What a candidate is sent: its chat model, the messages and the parameters that it accepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from hafs.providers.attempts import Attempt
from hafs.providers.classify import before_sending
from hafs.providers.parse import THINKING
from hafs.providers.watched_answer import Watch

CALL_PARAMETERS = frozenset({"tools", "tool_choice", "response_format", "stop", "parallel_tool_calls"})
"""Parameters of a call; all others are parameters of the model."""
_RENAMED = {"max_tokens": "max_completion_tokens"}


@dataclass(frozen=True, kw_only=True)
class ProviderCall:
    """One call, ready to be made."""

    model: BaseChatModel
    messages: list[BaseMessage]
    parameters: Mapping[str, Any]
    """Parameters of the call."""


def call_of(
    attempt: Attempt,
    messages: Sequence[BaseMessage],
    params: Mapping[str, Any],
    adapter: str | None,
    watch: Watch | None = None,
) -> ProviderCall:
    """The call of an attempt; what its provider does not accept is recorded in `attempt.left_out`.

    Args:
        attempt: Names the candidate.
        messages: The conversation.
        params: Parameters that the caller set.
        adapter: Of the expert.
        watch: For a complete answer that is read as a stream: how long the host may be silent.
    """
    candidate = attempt.candidate
    takes = candidate.provider.takes
    given = {}
    for name, value in params.items():
        if name not in takes and _RENAMED.get(name) in takes:
            given[_RENAMED[name]] = value
        elif name in takes:
            given[name] = value
        else:
            attempt.left_out += (name,)
    watching = {"watch": watch} if watch and candidate.provider.host.watches else {}
    carries = candidate.provider.host.carries_adapters and not candidate.stands_in_for
    attempt.adapter = adapter if carries else None
    with before_sending():
        model = candidate.provider.chat(
            candidate.tier,
            model=candidate.model,
            adapter=attempt.adapter,
            **{name: value for name, value in given.items() if name not in CALL_PARAMETERS},
            **watching,
        )
    if THINKING not in takes and any(THINKING in message.additional_kwargs for message in messages):
        messages = [_without_thinking(message) for message in messages]
        attempt.left_out += (THINKING,)
    call = {name: value for name, value in given.items() if name in CALL_PARAMETERS}
    return ProviderCall(model=model, messages=list(messages), parameters=call)


def _without_thinking(message: BaseMessage) -> BaseMessage:
    if THINKING not in message.additional_kwargs:
        return message
    kept = {key: value for key, value in message.additional_kwargs.items() if key != THINKING}
    return message.model_copy(update={"additional_kwargs": kept})
