"""The form of answer that a request to the local provider requires, and the grammar that enforces it."""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from hafs.chat import CallSyntax, call_frame, call_syntax, end_tokens, parse, render
from hafs.chat.call_parser import PROMPTED
from hafs.chat.call_stream import CallPart, CallStream
from hafs.modeling.generation.grammar import Grammar
from hafs.providers.answer_grammar import AnswerGrammar
from hafs.providers.plain_messages import calling_conversation_of, conversation_of
from hafs.providers.prompted_tools import schema_of, system_first
from hafs.providers.provider_error import ProviderError


@dataclass(kw_only=True)
class AnswerRequest:
    """The prompt of a request, and how hafs constrains and parses its answer."""

    prompt: list[int]
    """Token ids."""
    grammar: Grammar | None = None
    """None: the answer is not constrained."""
    calls: CallStream | None = None
    """Reads tool calls from the answer; None: the answer is text."""

    def chunk(self, text: str, finish: str | None) -> AIMessageChunk | None:
        """A further piece of the answer as a message; None if nothing can be passed on yet."""
        if self.calls is None:
            return AIMessageChunk(content=text)
        parts = self.calls.feed(text, over=finish is not None)
        said = "".join(part for part in parts if isinstance(part, str))
        calls = [_chunk_of(part) for part in _joined(part for part in parts if isinstance(part, CallPart))]
        return AIMessageChunk(content=said, tool_call_chunks=calls) if parts or finish else None

    def finish(self, finish: str) -> str:
        """The finish reason: `tool_calls` if there are any and the answer is complete."""
        return "tool_calls" if self.calls and self.calls.calls and finish == "stop" else finish

    def message(self, heard: AIMessageChunk) -> AIMessage:
        """The complete answer from its joined chunks; a call that was cut off is an invalid one."""
        calls, cut = [], []
        for place, part in enumerate(heard.tool_call_chunks):
            arguments = self._arguments(place)
            if arguments is None:
                cut.append(invalid_tool_call(name=part["name"], args=part["args"], id=part["id"], error="cut off"))
            else:
                calls.append(tool_call(name=str(part["name"]), args=dict(arguments), id=part["id"]))
        return AIMessage(content=heard.content, tool_calls=calls, invalid_tool_calls=cut)

    def _arguments(self, place: int) -> Mapping[str, Any] | None:
        assert self.calls is not None
        found = parse(self.calls.text, self.calls.syntax, self.calls.tools).calls
        return found[place].arguments if place < len(found) else None


def _joined(parts: Iterable[CallPart]) -> list[CallPart]:
    """The parts with one for each call: LangChain joins parts of one index between messages, not within one."""
    joined: dict[int, CallPart] = {}
    for part in parts:
        known = joined.get(part.index)
        joined[part.index] = known._replace(arguments=known.arguments + part.arguments) if known else part
    return list(joined.values())


def _chunk_of(part: CallPart) -> Any:
    identity = f"call_{uuid4().hex}" if part.name is not None else None
    return tool_call_chunk(name=part.name, args=part.arguments, id=identity, index=part.index)


def answer_request(tokenizer: Any, messages: Sequence[BaseMessage], params: Mapping[str, Any]) -> AnswerRequest:
    """A request to the local base.

    Args:
        tokenizer: The model's tokenizer.
        messages: The conversation.
        params: `tools`, `tool_choice`, `parallel_tool_calls` and `response_format` in OpenAI's format.

    Raises:
        ProviderError: hafs cannot read the model's tool calls, or `tool_choice` names an unknown tool.
        HafsError: The chat template rejects the conversation, or a grammar is needed and cannot be used.
    """
    form, schema = params.get("response_format") or {}, schema_of(params.get("response_format"))
    if form.get("type") == "json_schema":
        messages = system_first(messages, f"Answer in JSON that fits this schema: {_json(schema)}")
    tools, choice = params.get("tools"), _choice(params.get("tool_choice"))
    if not tools or choice == "none":
        prompt = render(tokenizer, conversation_of(messages), for_generation=True).tokens
        rules = _rules(tokenizer)
        grammar = None if schema is None else _held(tokenizer, rules.json_only(schema))
        return AnswerRequest(prompt=prompt, grammar=grammar)
    syntax = call_syntax(tokenizer)
    if syntax is None:
        raise ProviderError("rejected", "the chat template writes tool calls in a syntax that hafs cannot parse")
    several = params.get("parallel_tool_calls") is not False
    return AnswerRequest(
        prompt=render(tokenizer, calling_conversation_of(messages, tools), for_generation=True).tokens,
        grammar=_calling(tokenizer, syntax, tools, choice, schema, several=several),
        calls=CallStream(syntax, tools, several=several),
    )


def _choice(choice: Any) -> str:
    """`auto`, `none`, `required`, or the name of a tool after a colon."""
    if isinstance(choice, Mapping):
        return f":{choice['function']['name']}"
    known = {None: "auto", "auto": "auto", "none": "none", "required": "required", "any": "required"}
    if isinstance(choice, bool):
        return "required" if choice else "none"
    return known.get(choice) or f":{choice}"


def _calling(
    tokenizer: Any, syntax: CallSyntax, tools: Sequence[Mapping[str, Any]], choice: str,
    schema: Mapping[str, Any] | None, *, several: bool,
) -> Grammar | None:  # fmt: skip
    """The grammar of an answer that may or must call; None if it needs none."""
    prompted = syntax == PROMPTED
    if choice.startswith(":"):
        tools = _named(tools, choice[1:])
    if choice == "auto" and schema is None and not (prompted and importlib.util.find_spec("llguidance")):
        return None
    frame = call_frame(tokenizer)
    if frame is None:
        raise ProviderError("rejected", "hafs has no grammar for the tool calls of this model's chat template")
    rules = _rules(tokenizer)
    text_rule = rules.text_rule(schema, headed=prompted) if choice == "auto" else None
    return _held(tokenizer, rules.calls(tools, syntax, frame, several=several, text_rule=text_rule))


def _named(tools: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    found = [tool for tool in tools if tool["function"]["name"] == name]
    if not found:
        names = ", ".join(tool["function"]["name"] for tool in tools)
        raise ProviderError("rejected", f"tool_choice names {name!r}, the tools are {names}")
    return found


def _rules(tokenizer: Any) -> AnswerGrammar:
    return AnswerGrammar({token.content: index for index, token in tokenizer.added_tokens_decoder.items()})


def _held(tokenizer: Any, text: str) -> Grammar:
    return Grammar(tokenizer, text, end_tokens(tokenizer))


def _json(value: Any) -> str:
    from json import dumps

    return dumps(value, ensure_ascii=False)
