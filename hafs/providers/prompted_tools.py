"""Prompted tools, for models whose chat template has none: described in the prompt, called in grammar-enforced JSON.

messages, params = prompted(messages, params)    tools become system text; calls and results become text
-> the server's answer                       one call, {"name": ..., "arguments": ...}
-> ToolCallParser().piece(chunk), .whole(answer)   the same as a LangChain tool call

If no call is required, answering with text is one more tool: the model names it, and its text follows on the next
line. A model that never saw tools does not start a call by itself, but it can choose among names.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.utils.json_schema import dereference_refs

from hafs.providers.parse import message_of
from hafs.providers.plain_messages import text_of

_PROBE = {"type": "function", "function": {"name": "probe", "description": "", "parameters": {"type": "object"}}}
_NOTHING = {"type": "object", "properties": {}}
_IN_WORDS = "answer_in_words"
_WORDS = {
    "type": "function",
    "function": {"name": _IN_WORDS, "description": "Answer the question without a tool.", "parameters": _NOTHING},
}
_ONE_LINE = {"lenient": True, "whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Options of llguidance; parts of a schema that it cannot enforce are ignored."""
_CALL = "%llguidance {{}}\nstart: call\ncall: %json {call}\n"
_CALL_OR_WORDS = """%llguidance {{}}
start: call | words answer <[{ends}]>
call: %json {call}
words: %json {words}
answer: {answer}
"""
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')
_REST_OF_WORDS = re.compile(r"\{\s*\}\s*\}\s*")


def knows_tools(tokenizer: Any) -> bool:
    """Whether the tokenizer's chat template renders tools."""
    asked = [{"role": "user", "content": "?"}]
    try:
        shown = tokenizer.apply_chat_template(asked, tools=[_PROBE], tokenize=False)
    except Exception:  # a template may raise anything
        return False
    return shown != tokenizer.apply_chat_template(asked, tokenize=False)


def prompted(
    messages: Sequence[BaseMessage], params: Mapping[str, Any], ends: Collection[int]
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The same request without tools.

    Args:
        messages: Of any kind.
        params: `tools` in OpenAI's form; `tool_choice` is auto, none or required, left out it is auto.
        ends: Tokens that end an answer: a grammar of text without a fixed end must name them to allow them.

    Returns:
        Messages of system, user and assistant alone; parameters that constrain the answer to a call, or to
        a call or text.
    """
    params, asked = dict(params), as_text(messages)
    tools, choice = params.pop("tools", None), params.pop("tool_choice", None)
    params.pop("parallel_tool_calls", None)
    if not tools or choice in ("none", False):
        return asked, params
    if choice == "required":
        params["grammar"] = _CALL.format(call=json.dumps(call_schema(tools)))
        return system_first(asked, description(tools)), params
    schema = schema_of(params.pop("response_format", None))
    params["grammar"] = _CALL_OR_WORDS.format(
        call=json.dumps(call_schema(tools)),
        words=json.dumps(call_schema([_WORDS])),
        ends=",".join(map(str, sorted(ends))),
        answer=r"/\n(.|\n)+/" if schema is None else f'"\\n" form\nform: %json {json.dumps(schema)}',
    )
    return system_first(asked, description([*tools, _WORDS])), params


def schema_of(form: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema in a `response_format` of any kind; None: plain text."""
    if not form or form.get("type") not in ("json_schema", "json_object"):
        return None
    return (form.get("json_schema") or form).get("schema") or {"type": "object"}


def as_text(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with tool calls as the assistant's JSON and tool results as user text."""
    names = {call["id"]: call["name"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    written: list[BaseMessage] = []
    for kind, run in groupby(messages, type):
        if issubclass(kind, ToolMessage):
            written.append(HumanMessage(content="\n".join(_result(message, names) for message in run)))
        else:
            written += [AIMessage(content=text_of(m)) if getattr(m, "tool_calls", None) else m for m in run]
    return written


def _result(message: Any, names: Mapping[Any, str]) -> str:
    name = message.name or names.get(message.tool_call_id, message.tool_call_id)
    return f"{'Error' if message.status == 'error' else 'Result'} of {name}: {text_of(message)}"


def call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of the tools."""
    calls = []
    for tool in tools:
        function = tool["function"]
        named = {"name": {"const": function["name"]}, "arguments": closed(function.get("parameters") or _NOTHING)}
        calls.append(closed({"type": "object", "properties": named, "required": list(named)}))
    return {"anyOf": calls, "x-guidance": _ONE_LINE}


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema without references, whose objects allow no extra keys unless it says so."""
    flat = dereference_refs(dict(schema))
    return _closed({key: value for key, value in flat.items() if key not in ("$defs", "definitions")})


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: _closed(each) for key, each in schema.items()}
    if isinstance(named := schema.get("properties"), Mapping):
        properties = {name: _closed(each) for name, each in named.items()}
        return {"additionalProperties": False, **inner, "properties": properties}
    return inner


def description(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools and the call format, as text of the prompt."""
    rows = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    form = '{"name": "<tool>", "arguments": {...}}'
    return "\n".join(["You have these tools:", *rows, f"Answer with a call of one tool: {form}"])


def system_first(messages: Sequence[BaseMessage], text: str) -> list[BaseMessage]:
    """The messages with a text added to the system message."""
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(content=f"{text_of(messages[0])}\n\n{text}"), *messages[1:]]
    return [SystemMessage(content=text), *messages]


class ToolCallParser:
    """Parses the tool call in an answer, or the text of one without a call."""

    def __init__(self) -> None:
        self.text, self.given = "", 0
        self.name: str | None = None
        """The name of the called tool."""

    def piece(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """A chunk with its text parsed into a part of a call or of the text; the last chunk has a finish_reason."""
        message: Any = chunk.message
        info = chunk.generation_info
        over = bool(info and info.get("finish_reason"))
        text, calls = self.hear(str(message.text), over)
        heard = AIMessageChunk(
            content=text,
            tool_call_chunks=calls,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
        )
        return ChatGenerationChunk(message=heard, generation_info=self._ended(info))

    def whole(self, generation: ChatGeneration) -> ChatGeneration:
        """A complete answer with its text parsed; a call that was cut off becomes an invalid call."""
        message: Any = generation.message
        text, calls = self.hear(str(message.text), over=True)
        asked = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["args"]}}
            for call in calls
        ]
        said = message_of({"content": text, "tool_calls": asked}, message.usage_metadata)
        said.response_metadata = message.response_metadata
        return ChatGeneration(message=said, generation_info=self._ended(generation.generation_info))

    def hear(self, text: str, over: bool) -> tuple[str, list[ToolCallChunk]]:
        """The further text and parts of a call that can be passed on."""
        self.text += text
        head = _HEAD.match(self.text)
        if head and json.loads(head[1]) != _IN_WORDS:
            return "", self._call(json.loads(head[1]), head.end(), over)
        start = _REST_OF_WORDS.match(self.text, head.end()) if head else None
        if start is None and not over and self.text.lstrip()[:1] in ("", "{"):  # not clear yet whether it is a call
            return "", []
        begin = max(self.given, start.end() if start else 0)
        self.given = len(self.text)
        return self.text[begin:], []

    def _call(self, name: str, start: int, over: bool) -> list[ToolCallChunk]:
        """A part of the arguments; a possible end of the whole object is held back."""
        first, self.name = self.name is None, name
        begin = max(self.given, start)
        self.given = max(begin, _end(self.text, start) if over else len(self.text.rstrip("} \n\t")))
        args = self.text[begin : self.given]
        if first:
            return [tool_call_chunk(name=name, args=args, id=f"call_{uuid4().hex}", index=0)]
        return [tool_call_chunk(args=args, index=0)] if args else []

    def _ended(self, info: Any) -> Any:
        called = self.name is not None and info and info.get("finish_reason") == "stop"
        return {**info, "finish_reason": "tool_calls"} if called else info


def _end(text: str, start: int) -> int:
    """Where the arguments end; the end of the text if they were cut off."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[1]
    except ValueError:
        return len(text)
