"""Rows in the shape of published datasets, as their cards and the loaders of other trainers describe them."""

import json

import pytest

from hafs.data.formats import parse

PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "d", "parameters": PARAMETERS}
TOOL = {"type": "function", "function": WEATHER}
CALL = '{"name": "weather", "arguments": {"place": "Bern"}}'
TAGGED = f"<tool_call>\n{CALL}\n</tool_call>"
CALLED = [("user", "q", []), ("assistant", "", ["Bern"]), ("tool", "1", []), ("assistant", "a", [])]


def turns(*pairs, keys=("from", "value")):
    return [dict(zip(keys, pair, strict=True)) for pair in pairs]


def smoltalk(tools, *, call=TAGGED, result="<tool_response>\n1\n</tool_response>", instructions=""):
    """SmolTalk 2: the tools are one text inside `chat_template_kwargs`, whatever the split writes into it."""
    messages = turns(("user", "q"), ("assistant", call), ("tool", result), ("assistant", "a"), keys=("role", "content"))
    more = {"custom_instructions": instructions, "enable_thinking": False, "python_tools": [], "xml_tools": [tools]}
    return {"messages": messages, "chat_template_kwargs": more}


ROWS = {
    "SmolTalk 2, Hermes and xLAM": smoltalk(f"You may call these. <tools> {json.dumps([TOOL])} </tools>"),
    "SmolTalk 2, traces": smoltalk("\n".join(map(str, [TOOL, TOOL])), call=TAGGED.replace('"', "'")),
    "glaive v2": {
        "system": "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
        + json.dumps(WEATHER, indent=4) + "\n\n",
        "chat": "USER: q\n\n\nASSISTANT: <functioncall> " + '{"name": "weather", "arguments": \'{"place": "Bern"}\'}'
        " <|endoftext|>\n\n\nFUNCTION RESPONSE: 1\n\n\nASSISTANT: a <|endoftext|>\n\n\n"},
    "ToolACE": {
        "system": "You are an expert in composing functions.\nHere is a list of functions in JSON format that you can "
        f"invoke:\n{json.dumps([WEATHER])}. \nShould you decide to return the function call(s).\nPut it in the format",
        "conversations": turns(("user", "q"), ("assistant", '[weather(place="Bern")]'), ("tool", "1"),
                               ("assistant", "a"))},
    "ToolBench": {"conversations": turns(
        ("system", f"You are AutoGPT.\nSpecifically, you have access to the following APIs: {[WEATHER]}"),
        ("user", "q"),
        ("assistant", '\nThought: \nAction: weather\nAction Input: {\n  "place": "Bern"\n}'), ("function", "1"),
        ("assistant", "a"))},
    "Nemotron v1": {
        "reasoning": "off", "metadata": json.dumps({"tools": [TOOL]}), "messages": [
            {"role": "user", "content": "q", "tool_calls": []},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Bern"}'}}]},
            {"role": "tool", "content": "1", "tool_calls": []},
            {"role": "assistant", "content": "a", "tool_calls": []}]},
    "APIGen-MT": {"tools": json.dumps([WEATHER]), "system": "", "conversations": turns(
        ("human", "q"), ("function_call", CALL), ("observation", "1"), ("gpt", "a"))},
    "Hermes": {"conversations": turns(
        ("system", "Signatures are within <tools></tools> tags. Here are the available tools:<tools> "
         f"{json.dumps([TOOL])} </tools>Answer with <tool_call>"),
        ("human", "q"), ("gpt", TAGGED), ("tool", "<tool_response>\n1\n</tool_response>"), ("gpt", "a"))},
    "ms-swift": {"tools": json.dumps([TOOL]), "messages": turns(
        ("user", "q"), ("function-call", CALL), ("observations", "1"), ("assistant", "a"), keys=("role", "content"))},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_published_row_of_tools_is_read_with_its_calls(name):
    found = parse(ROWS[name])
    said = [(m.role, m.content, [c.arguments["place"] for c in m.calls]) for m in found.conversation]
    assert said[said[0][0] == "system" :] == CALLED
    assert {tool["function"]["name"] for tool in found.conversation[0].tools} == {"weather"}
    assert "weather" not in found.conversation[0].content, "the template writes the tools"


@pytest.mark.parametrize(("row", "expected"), [
    ({"system": "SYSTEM: You are a helpful assistant, with no access to external functions.\n",
      "chat": "USER: q\n\n\nASSISTANT: a <|endoftext|>\n"},
     [("system", "You are a helpful assistant, with no access to external functions."), ("user", "q"),
      ("assistant", "a")]),
    ({"input": [{"role": "user", "content": "q"}], "output": "a", "reasoning": "on", "system_prompt": "thinking on"},
     [("system", "thinking on"), ("user", "q"), ("assistant", "a")]),
    ({"system_prompt": "", "question": "q", "response": "a"}, [("user", "q"), ("assistant", "a")]),
    ({"instruction": "q", "context": "c", "response": "a", "category": "closed_qa"},
     [("user", "q\n\nc"), ("assistant", "a")]),
    ({"instruction": "", "input": "q", "output": "a"}, [("user", "q"), ("assistant", "a")]),
    ({"query": "q", "response": "a", "history": "[['h', 'i']]"},
     [("user", "h"), ("assistant", "i"), ("user", "q"), ("assistant", "a")]),
    ({"system": "s", "conversation": [{"human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}]},
     [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]),
    ({"messages": "[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}]"},
     [("user", "q"), ("assistant", "a")]),
    ({"conversations": turns(("user", "q"), ("caller", "a"))}, [("user", "q"), ("assistant", "a")]),
])  # fmt: skip
def test_a_published_row_without_tools_is_read(row, expected):
    assert [(m.role, m.content) for m in parse(row).conversation] == expected


def test_a_switch_is_no_reasoning_and_is_named_as_unused():
    found = parse({"input": "q", "output": "a", "reasoning": "off"})
    assert (found.conversation[1].reasoning, found.unused) == ("", ["reasoning"])
    assert parse({"input": "q", "output": "a", "reasoning": "It is."}).conversation[1].reasoning == "It is."


def test_instructions_beside_the_tools_are_the_system_message_and_several_results_are_turns():
    result = "<tool_response>1</tool_response>\n<tool_response>2</tool_response>"
    found = parse(
        smoltalk(f"<tools>{json.dumps([TOOL])}</tools>", result=result, instructions="Be brief.")
    ).conversation
    assert (found[0].role, found[0].content, len(found[0].tools)) == ("system", "Be brief.", 1)
    assert [m.content for m in found if m.role == "tool"] == ["1", "2"]


def test_a_text_that_names_no_tools_is_no_tools():
    found = parse(smoltalk("You have no access to functions.", call="b", result="1"))
    assert found.conversation[0].tools == ()
    assert "chat_template_kwargs" in found.unused


def test_a_text_with_results_and_other_words_stays_as_it_is():
    text = "so: <tool_response>1</tool_response>"
    assert parse(smoltalk(f"<tools>{json.dumps([TOOL])}</tools>", result=text)).conversation[2].content == text
