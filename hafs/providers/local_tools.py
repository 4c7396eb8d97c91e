"""Tool calls of the local provider: which tools a request allows, how an answer starts, and which calls it makes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk

from hafs.chat import CallSyntax, call_syntax, parse, render
from hafs.providers.plain_messages import calling_conversation_of
from hafs.providers.provider_error import ProviderError


class ToolRequest(NamedTuple):
    """A request whose answer may call tools."""

    tools: Sequence[Mapping[str, Any]]
    syntax: CallSyntax
    prompt: list[int]
    """Token ids of the prompt, with the forced start of the answer."""
    forced: str
    """The start of the answer if a tool call is required; empty otherwise."""
    parallel: bool
    """Whether the answer may contain several calls."""

    def chunk(self, text: str, finish: str) -> tuple[AIMessageChunk, str]:
        """The complete answer as one chunk, and why it ended."""
        found = parse(self.forced + text, self.syntax, self.tools)
        calls = found.calls if self.parallel else found.calls[:1]
        chunks = [
            tool_call_chunk(name=call.name, args=_json(call.arguments), id=f"call_{uuid4().hex}", index=place)
            for place, call in enumerate(calls)
        ]
        return AIMessageChunk(content=found.text, tool_call_chunks=chunks), "tool_calls" if calls else finish


def tool_request(tokenizer: Any, messages: Sequence[BaseMessage], words: Mapping[str, Any]) -> ToolRequest | None:
    """The tool calling part of a request; None if it allows no tools.

    Args:
        tokenizer: The model's tokenizer.
        messages: The conversation.
        words: `tools`, `tool_choice` and `parallel_tool_calls` in OpenAI's format.

    Raises:
        ProviderError: hafs cannot parse the model's tool calls, or `tool_choice` names an unknown tool.
        HafsError: The chat template rejects the conversation.
    """
    tools, choice = words.get("tools"), words.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return None
    syntax = call_syntax(tokenizer)
    if syntax is None:
        raise ProviderError("rejected", "the chat template writes tool calls in a syntax that hafs cannot parse")
    prompt = render(tokenizer, calling_conversation_of(messages, tools), for_generation=True).tokens
    forced = _forced(syntax, tools, choice)
    ids = tokenizer(forced, add_special_tokens=False)["input_ids"] if forced else []
    return ToolRequest(tools, syntax, [*prompt, *ids], forced, words.get("parallel_tool_calls") is not False)


def _forced(syntax: CallSyntax, tools: Sequence[Mapping[str, Any]], choice: Any) -> str:
    """How an answer must start; empty if the model may answer in words."""
    if choice == "auto":
        return ""
    names = [tool["function"]["name"] for tool in tools]
    name = choice["function"]["name"] if isinstance(choice, Mapping) else names[0] if len(names) == 1 else None
    if name is not None and name not in names:
        raise ProviderError("rejected", f"tool_choice names {name!r}, the tools are {', '.join(names)}")
    if syntax.family != "object":
        return syntax.before + (f"{name}{syntax.after_name}" if name else "")
    start = f'{syntax.before}{{"{syntax.name_key}": "'
    return f'{start}{name}", "{syntax.arguments_key}": {{' if name else start


def _json(value: Any) -> str:
    from json import dumps

    return dumps(value, ensure_ascii=False)
