"""Answers under a grammar are calls and JSON as asked, whatever the model would rather write."""

import json

import jsonschema
import pytest
import torch
from call_syntaxes import SYNTAXES, TOOLS, template
from langchain_core.messages import HumanMessage

from hafs.chat import call_syntax, end_tokens, parse
from hafs.core.errors import HafsError
from hafs.modeling.generation.grammar import Grammar
from hafs.providers.local_tools import answer_request
from hafs.providers.provider_error import ProviderError

ROOM = {"type": "function", "function": {"name": "describe_room", "parameters": {
    "type": "object", "properties": {
        "room": {"type": "integer", "minimum": 0, "maximum": 295}, "part": {"enum": ["doors", "chests"]},
        "deep": {"type": "boolean"}},
    "required": ["room", "part"]}}}  # fmt: skip
LIST = {"type": "function", "function": {"name": "list_rooms", "parameters": {"type": "object", "properties": {}}}}


def walk(tokenizer, grammar, seed, limit=400):
    """What a model with random weights says under a grammar."""
    random, said, ends = torch.Generator().manual_seed(seed), [], end_tokens(tokenizer)
    while len(said) < limit:
        logits_V = torch.rand(49_152, generator=random)
        logits_V[ends] += 1.0  # it would rather end at once
        grammar.restrict(logits_V)
        token = int(logits_V.argmax())
        if token in ends:
            return tokenizer.decode(said)
        grammar.take(token)
        said.append(token)
    pytest.fail(f"no end after {limit} tokens: {tokenizer.decode(said)[:200]!r}")


def asked(tokenizer, **words):
    return answer_request(tokenizer, [HumanMessage("Look.")], words)


def valid(calls, tools):
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    for call in calls:
        jsonschema.validate(dict(call.arguments), {"additionalProperties": False} | schemas[call.name])
    return [call.name for call in calls]


@pytest.mark.parametrize("name", [*SYNTAXES, "prompted"])
def test_a_required_call_is_a_valid_call_in_the_model_s_own_syntax(tokenizer, name):
    if name != "prompted":
        tokenizer.chat_template = template(SYNTAXES[name])
    syntax, names = call_syntax(tokenizer), set()
    for seed in range(6):
        text = walk(tokenizer, asked(tokenizer, tools=[ROOM, LIST], tool_choice="required").grammar, seed)
        calls = parse(text, syntax, [ROOM, LIST]).calls
        assert calls, text
        names.update(valid(calls, [ROOM, LIST]))
    assert names == {"describe_room", "list_rooms"}
    for seed in range(3):
        one = {"type": "function", "function": {"name": "describe_room"}}
        request = asked(tokenizer, tools=[ROOM, LIST], tool_choice=one, parallel_tool_calls=False)
        assert valid(parse(walk(tokenizer, request.grammar, seed), syntax, [ROOM, LIST]).calls, [ROOM]) == [
            "describe_room"
        ]


def test_several_calls_are_possible_only_where_they_are_allowed(tokenizer):
    text = '{"name": "list_rooms", "arguments": {}}'
    twice = tokenizer(f"{text}\n{text}", add_special_tokens=False)["input_ids"]
    for several in (True, False):
        grammar = asked(tokenizer, tools=[LIST], tool_choice="required", parallel_tool_calls=several).grammar
        allowed = 0
        for token in twice:
            logits_V = torch.zeros(49_152)
            grammar.restrict(logits_V)
            if logits_V[token] < 0:
                break
            grammar.take(token)
            allowed += 1
        assert (allowed == len(twice)) == several


def test_text_between_tags_may_hold_anything_but_the_closing_tag(tokenizer):
    tokenizer.chat_template = template(SYNTAXES["arguments in tags"])
    syntax = call_syntax(tokenizer)
    for tile in ("a < b </b> \n\n'\"", "</parameter"):
        text = f"<call>\n<function=find>\n<parameter=tile>\n{tile}\n</parameter>\n</function>\n</call>"
        grammar = asked(tokenizer, tools=TOOLS, tool_choice="required").grammar
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            logits_V = torch.zeros(49_152)
            grammar.restrict(logits_V)
            assert logits_V[token] == 0, tokenizer.decode(token)
            grammar.take(token)
        assert parse(text, syntax, TOOLS).calls[0].arguments == {"tile": tile}


def test_json_follows_its_schema(tokenizer):
    properties = {"kind": {"enum": ["door", "chest"]}, "count": {"type": "integer", "maximum": 9, "minimum": 0}}
    schema = {"type": "object", "properties": properties, "required": ["kind", "count"]}
    form = {"type": "json_schema", "json_schema": {"name": "found", "schema": schema}}
    request = asked(tokenizer, response_format=form)
    assert '"count"' in tokenizer.decode(request.prompt)
    for seed in range(4):
        found = json.loads(walk(tokenizer, asked(tokenizer, response_format=form).grammar, seed))
        jsonschema.validate(found, schema | {"additionalProperties": False})
    anything = walk_object(tokenizer, asked(tokenizer, response_format={"type": "json_object"}).grammar)
    assert anything == {}
    assert asked(tokenizer, response_format={"type": "text"}).grammar is None


def walk_object(tokenizer, grammar):
    """The shortest object under a grammar."""
    said = []
    for wanted in ("{", "}"):
        logits_V = torch.zeros(49_152)
        token = tokenizer.convert_tokens_to_ids(wanted)
        logits_V[token] = 1.0
        logits_V[tokenizer.convert_tokens_to_ids("Sure")] = 2.0
        grammar.restrict(logits_V)
        said.append(int(logits_V.argmax()))
        grammar.take(said[-1])
    return json.loads(tokenizer.decode(said))


def test_without_a_demand_a_prompted_answer_is_a_call_or_headed_words(tokenizer):
    request = asked(tokenizer, tools=[ROOM, LIST])
    starts = set()
    for text in ('{"name": "list_rooms", "arguments": {}}', '{"name": "answer_in_words", "arguments": {}}\nNo.', "No."):
        grammar = asked(tokenizer, tools=[ROOM, LIST]).grammar
        fits = True
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            logits_V = torch.zeros(49_152)
            grammar.restrict(logits_V)
            fits = fits and bool(logits_V[token] == 0)
            if fits:
                grammar.take(token)
        logits_V = torch.zeros(49_152)
        grammar.restrict(logits_V)
        assert not fits or logits_V[end_tokens(tokenizer)].isfinite().all()  # it may end
        starts.add((text[:10], fits))
    assert starts == {('{"name": "', True), ("No.", False)}
    tokenizer.chat_template = template(SYNTAXES["an object in tags"])
    assert asked(tokenizer, tools=[ROOM]).grammar is None  # a model that knows tools is free
    assert request.calls is not None


def test_an_unknown_choice_and_an_unusable_grammar_are_refused(tokenizer):
    with pytest.raises(ProviderError, match="tool_choice names 'nothing', the tools are list_rooms"):
        asked(tokenizer, tools=[LIST], tool_choice="nothing")
    with pytest.raises(HafsError, match="the grammar is not usable"):
        Grammar(tokenizer, "start: nowhere\n", end_tokens(tokenizer))
