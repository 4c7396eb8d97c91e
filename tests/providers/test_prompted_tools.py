"""Tools for models whose template knows none, without a server."""

import json

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from hafs.config import build, compose
from hafs.providers.prompted_tools import ToolCallParser, as_text, call_schema, closed, knows_tools, prompted

CALL = '{"name": "add", "arguments": {"a": 1, "of": {"b": "}} \\"x\\""}}}'
ARGS = {"a": 1, "of": {"b": '}} "x"'}}
WORDS = '{"name": "answer_in_words", "arguments": {}}\n'
SHOWS = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m['content'] }}{% endfor %}"
REFUSES = "{% if tools %}{{ raise_exception('no tools') }}{% endif %}{{ messages[0]['content'] }}"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOL = convert_to_openai_tool(add)


@pytest.mark.parametrize(("template", "known"), [(None, False), (SHOWS, True), (REFUSES, False)])
def test_a_template_knows_tools_if_it_shows_them(template, known):
    tokenizer = build(compose("train", ["model=tiny"]).model).tokenizer()
    if template:
        tokenizer.chat_template = template
    assert knows_tools(tokenizer) is known


def test_calls_and_results_become_text_and_other_messages_do_not_change():
    call = {"name": "add", "args": {"a": 1}, "id": "x"}
    more = {"name": "add", "args": {"a": 2}, "id": "y"}
    talk = [
        SystemMessage("s"), HumanMessage("q"), AIMessage("Let me see", tool_calls=[call, more]),
        ToolMessage("3", tool_call_id="x"), ToolMessage("no", name="sum", tool_call_id="y", status="error"),
        AIMessage("so"),
    ]  # fmt: skip
    said = as_text(talk)
    assert said[:2] == talk[:2] and said[-1] == talk[-1]
    assert said[2] == AIMessage(
        'Let me see\n{"name": "add", "arguments": {"a": 1}}\n{"name": "add", "arguments": {"a": 2}}'
    )
    assert said[3] == HumanMessage("Result of add: 3\nError of sum: no")
    assert len(said) == 5


def test_tools_are_prompted_after_the_system_message():
    asked, words = prompted(
        [SystemMessage("Be brief."), HumanMessage("q")], {"tools": [TOOL], "tool_choice": "required"}, {2}
    )
    assert asked[0].content.startswith("Be brief.\n\n")
    assert json.dumps(TOOL["function"]) in asked[0].content and "answer_in_words" not in asked[0].content
    assert words.keys() == {"grammar"} and "start: call\n" in words["grammar"]


@pytest.mark.parametrize("choice", [None, "auto"])
def test_without_a_required_call_text_is_one_more_tool(choice):
    asked, words = prompted([HumanMessage("q")], {"tools": [TOOL], "tool_choice": choice, "seed": 1}, {2, 0})
    assert "answer_in_words" in asked[0].content and asked[1:] == [HumanMessage("q")]
    assert words["seed"] == 1 and "start: call | words answer <[0,2]>\n" in words["grammar"]
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "title": "mine"}}}
    _, words = prompted([HumanMessage("q")], {"tools": [TOOL], "response_format": form}, {2})
    assert words.keys() == {"grammar"} and '"title": "mine"' in words["grammar"]


def test_tools_are_not_prompted_if_none_may_be_called():
    assert prompted([HumanMessage("q")], {"tools": [TOOL], "tool_choice": "none"}, {2}) == ([HumanMessage("q")], {})


def test_a_schema_is_closed_and_without_references():
    class Inner(BaseModel):
        type: str

    class Outer(BaseModel):
        properties: Inner
        many: list[Inner]

    form = closed(Outer.model_json_schema())
    inner = form["properties"]["properties"]
    assert "$ref" not in json.dumps(form) and "$defs" not in form
    assert form["additionalProperties"] is inner["additionalProperties"] is False
    assert form["properties"]["many"]["items"]["additionalProperties"] is False
    assert "additionalProperties" not in form["properties"] and "additionalProperties" not in inner["properties"]
    assert closed({"type": "object", "properties": {}, "additionalProperties": True})["additionalProperties"] is True


def test_a_tool_without_arguments_takes_none():
    (call,) = call_schema([{"type": "function", "function": {"name": "now"}}])["anyOf"]
    assert call["properties"]["name"] == {"const": "now"}
    assert call["properties"]["arguments"] == {"type": "object", "properties": {}, "additionalProperties": False}


def whole(text, finish="stop"):
    return ToolCallParser().whole(ChatGeneration(message=AIMessage(text), generation_info={"finish_reason": finish}))


def streamed(text, size, finish="stop"):
    """The answer in pieces of some characters, put together again."""
    parser, pieces = ToolCallParser(), [text[i : i + size] for i in range(0, len(text), size)]
    chunks = [parser.piece(ChatGenerationChunk(message=AIMessageChunk(content=piece))) for piece in pieces]
    last = ChatGenerationChunk(message=AIMessageChunk(content=""), generation_info={"finish_reason": finish})
    chunks.append(parser.piece(last))
    return chunks, sum(chunks[1:], chunks[0])


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_call_is_parsed_complete_and_streamed(size):
    chunks, got = streamed(CALL, size)
    for answer in (whole(CALL), got):
        (call,) = answer.message.tool_calls
        assert (call["name"], call["args"]) == ("add", ARGS) and call["id"].startswith("call_")
        assert answer.message.content == "" and answer.generation_info["finish_reason"] == "tool_calls"
    names = [piece["name"] for chunk in chunks for piece in chunk.message.tool_call_chunks]
    assert names.count("add") == 1
    assert size > 7 or len(names) > 3


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "said"), [(WORDS + 'Hi {"a": 1}', 'Hi {"a": 1}'), ("Hi {}", "Hi {}"), ("{ no", "{ no")]
)
def test_text_is_parsed_as_text(text, said, size):
    for answer in (whole(text), streamed(text, size)[1]):
        assert answer.message.content == said and not answer.message.tool_calls
        assert answer.generation_info["finish_reason"] == "stop"


@pytest.mark.parametrize("until", range(len('{"name": "add", "arguments": {'), len(CALL)))
def test_a_call_that_was_cut_off_is_invalid(until):
    answer = whole(CALL[:until], "length")
    assert answer.generation_info["finish_reason"] == "length"
    assert bool(answer.message.tool_calls) == (until == len(CALL) - 1)
    assert bool(answer.message.invalid_tool_calls) == (until != len(CALL) - 1)


def test_a_call_cut_off_before_its_arguments_is_text():
    answer = whole(CALL[: CALL.index("{", 1)], "length")
    assert not answer.message.tool_calls and answer.message.content == '{"name": "add", "arguments": '
