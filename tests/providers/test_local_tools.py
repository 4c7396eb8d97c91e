import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from local_nets import host

from hafs.chat import Call, Message, render
from hafs.config import build, compose
from hafs.providers.local import Local
from hafs.providers.local_tools import tool_request
from hafs.providers.provider_error import ProviderError

TOOL = {"type": "function", "function": {"name": "find_tile", "description": "Finds.", "parameters": {
    "type": "object", "properties": {"tile": {"type": "string"}}}}}  # fmt: skip
OTHER = {"type": "function", "function": {"name": "list_rooms", "parameters": {"type": "object", "properties": {}}}}
CALL = '{"name": "find_tile", "arguments": {"tile": "x"}}'


@pytest.fixture(scope="module")
def tokenizer():
    return build(compose("train", ["model=tiny"]).model).tokenizer()


class Speaker:
    """An engine that gives every request the same answer."""

    ready = True

    def __init__(self, tokenizer, text):
        self.tokenizer, self.text = tokenizer, text
        self.jobs = []

    def submit(self, job):
        self.jobs.append(job)
        for token in self.tokenizer(self.text, add_special_tokens=False)["input_ids"]:
            job.row.said.append(token)
            job.hear(token, self.tokenizer)
        job.row.finish = "stop"
        job.hear(None, self.tokenizer)

    def cancel(self, job):
        pass


@pytest.fixture
def chat(tokenizer, monkeypatch):
    def speaking(text):
        speaker = Speaker(tokenizer, text)
        monkeypatch.setattr(Local, "engine", lambda self, model: speaker)
        return host(max_tokens=100).chat("tiny", context=2048, adapter=None), speaker

    return speaking


def test_a_call_in_the_answer_is_a_call_of_the_message(chat):
    model, speaker = chat(CALL)
    said = model.bind_tools([TOOL, OTHER]).invoke("Where is x?")
    assert [(call["name"], call["args"]) for call in said.tool_calls] == [("find_tile", {"tile": "x"})]
    assert (said.content, said.response_metadata["finish_reason"]) == ("", "tool_calls")
    pieces = list(model.bind_tools([TOOL, OTHER]).stream("Where is x?"))
    deltas = [part for piece in pieces for part in piece.tool_call_chunks]
    assert (deltas[0]["name"], json.loads(deltas[0]["args"])) == ("find_tile", {"tile": "x"})
    assert "find_tile" in speaker.tokenizer.decode(speaker.jobs[0].row.prompt)


def test_an_answer_in_words_is_its_text(chat):
    model, _ = chat('{"name": "answer_in_words", "arguments": {}}\nNowhere.')
    said = model.bind_tools([TOOL]).invoke("Where is x?")
    assert (said.content, said.tool_calls, said.response_metadata["finish_reason"]) == ("Nowhere.", [], "stop")


def test_parallel_calls_can_be_switched_off(chat):
    model, _ = chat(f"{CALL}\n{CALL}")
    asked = model.bind_tools([TOOL])
    assert len(asked.invoke("?").tool_calls) == 2
    assert len(asked.invoke("?", parallel_tool_calls=False).tool_calls) == 1


def test_a_required_call_begins_as_a_call(chat):
    model, speaker = chat('"x"}}')
    named = {"type": "function", "function": {"name": "find_tile"}}
    said = model.bind_tools([TOOL, OTHER], tool_choice=named).invoke("?")
    assert speaker.tokenizer.decode(speaker.jobs[0].row.prompt).endswith('{"name": "find_tile", "arguments": {')
    assert said.tool_calls == []  # `{"x"}}` is not JSON
    free = model.bind_tools([TOOL, OTHER], tool_choice="required").invoke("?")
    assert speaker.tokenizer.decode(speaker.jobs[1].row.prompt).endswith('{"name": "')
    assert free.tool_calls == []
    off, plain = chat(CALL)
    said = off.bind_tools([TOOL], tool_choice="none").invoke("?")
    assert (said.content, said.tool_calls) == (CALL, [])
    assert "find_tile" not in plain.tokenizer.decode(plain.jobs[0].row.prompt)
    with pytest.raises(ProviderError, match="tool_choice names 'nothing'"):
        model.bind_tools([TOOL], tool_choice={"type": "function", "function": {"name": "nothing"}}).invoke("?")


def test_a_request_has_the_ids_of_training(tokenizer):
    call = {"name": "find_tile", "args": {"tile": "x"}, "id": "c1", "type": "tool_call"}
    messages = [HumanMessage("Where?"), AIMessage("", tool_calls=[call]), ToolMessage("here", tool_call_id="c1")]
    trained = (
        Message(role="user", content="Where?", tools=(TOOL,)),
        Message(role="assistant", content="", calls=(Call(name="find_tile", arguments={"tile": "x"}, id="c1"),)),
        Message(role="tool", content="here", call_id="c1"),
    )
    asked = tool_request(tokenizer, messages, {"tools": [TOOL]})
    assert asked.prompt == render(tokenizer, trained, for_generation=True).tokens
    assert tool_request(tokenizer, messages, {"tools": []}) is None
