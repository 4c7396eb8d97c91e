"""A complete answer that is read as a stream, because only a stream shows that a host is alive.

hafs leaves a hanging host after the limit for the first token, not after the limit for a complete answer. The events
are joined as plain values; a LangChain chunk for each of them would cost more than the rest of the call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hafs.providers.parse import THINKING, arguments_of
from hafs.providers.provider_error import ProviderError
from hafs.providers.tool_call_numbers import ToolCallNumbers

_TEXTS = ("content", "refusal")
_THINKING = (THINKING, "reasoning")


class Watch(NamedTuple):
    """How long a host may be silent."""

    first_token_seconds: float
    idle_seconds: float


@dataclass(kw_only=True)
class Joined:
    """A completion, joined from the events of its stream."""

    head: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish: str | None = None
    _numbers: ToolCallNumbers = field(default_factory=ToolCallNumbers)

    def take(self, event: Mapping[str, Any]) -> bool:
        """Add an event; returns whether it contains a part of the answer or of its reasoning."""
        self.head |= {key: value for key, value in event.items() if key != "choices" and value}
        choice = next(iter(event.get("choices") or []), None)
        if not choice:
            return False
        delta = choice.get("delta") or choice.get("message") or {}
        self.finish = choice.get("finish_reason") or self.finish
        said = [(key, delta[key]) for key in (*_TEXTS, *_THINKING) if delta.get(key)]
        for key, text in said:
            self.texts.setdefault(key, []).append(text)
        for call in delta.get("tool_calls") or []:
            self._take_call(call)
        for key, values in (choice.get("logprobs") or {}).items():
            self.logprobs.setdefault(key, []).extend(values or [])
        return bool(said or self.calls)

    def _take_call(self, call: Mapping[str, Any]) -> None:
        index, begun = self._numbers.of(call)
        kept = self.calls.setdefault(index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        kept["id"] = kept["id"] or begun
        function = call.get("function") or {}
        kept["function"]["name"] = kept["function"]["name"] or function.get("name") or ""
        kept["function"]["arguments"] += arguments_of(function) or ""

    def completion(self) -> dict[str, Any]:
        """The answer in OpenAI's form, as if it had been asked for in one piece."""
        message: dict[str, Any] = {key: _whole(parts) for key, parts in self.texts.items()}
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        choice = {"message": message, "finish_reason": self.finish, "logprobs": self.logprobs or None}
        return {**self.head, "choices": [choice]}


def _whole(parts: list[Any]) -> Any:
    return "".join(parts) if all(isinstance(part, str) for part in parts) else parts[-1]


async def joined(
    events: AsyncIterator[dict[str, Any]], check: Callable[[Mapping[str, Any]], None], watch: Watch, began: float
) -> dict[str, Any]:
    """The completion of a stream.

    Args:
        events: The objects of the stream; the first call opens it.
        check: Raises an error for an event that reports one.
        watch: How long the host may be silent.
        began: When the call began, on the loop's clock.

    Raises:
        ProviderError: `timeout`, the host was silent for longer; or what `check` raises.
    """
    loop, answer, alive = asyncio.get_running_loop(), Joined(), False
    try:
        async with asyncio.timeout_at(began + watch.first_token_seconds) as timer:
            async for event in events:
                check(event)
                alive = answer.take(event) or alive
                if alive:
                    timer.reschedule(loop.time() + watch.idle_seconds)
    except TimeoutError as error:
        what = "no further token" if alive else "no first token"
        raise ProviderError("timeout", f"{what} in {watch[alive]:g} s") from error
    return answer.completion()
