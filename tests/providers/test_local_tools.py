import json

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from local_nets import SETTINGS, host

from hafs.chat import Call, Message, render
from hafs.config import build, compose
from hafs.providers.local import Local
from hafs.providers.local_tools import answer_request
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

    ready, busy = True, False

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
    assert (deltas[0]["name"], len(deltas) > 3) == ("find_tile", True)
    assert json.loads("".join(part["args"] for part in deltas)) == {"tile": "x"}
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


PLACE = {"type": "function", "function": {"name": "go", "parameters": {
    "type": "object",
    "properties": {"way": {"enum": ["north", "south"]}, "steps": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["way", "steps"]}}}  # fmt: skip
GO = {"type": "function", "function": {"name": "go"}}


@pytest.mark.parametrize("choice", ["required", "any", True, "go", GO])
def test_a_model_that_would_say_anything_calls_where_a_call_is_required(choice):
    model = host(max_tokens=120).chat("tiny", context=2048, adapter=None).bind_tools([PLACE], tool_choice=choice)
    said = model.invoke("Where to?")
    assert said.response_metadata["finish_reason"] == "tool_calls"
    (call, *_) = said.tool_calls
    assert (call["name"], call["args"]["way"] in ("north", "south"), 1 <= call["args"]["steps"] <= 9) == (
        "go",
        True,
        True,
    )
    assert len(model.invoke("Where to?", parallel_tool_calls=False).tool_calls) == 1


def test_a_call_is_streamed_in_parts():
    model = host(max_tokens=120).chat("tiny", context=2048, adapter=None).bind_tools([PLACE], tool_choice="required")
    pieces = list(model.stream("Where to?", parallel_tool_calls=False))
    parts = [part for piece in pieces for part in piece.tool_call_chunks]
    assert len(parts) > 3 and parts[0]["name"] == "go" and parts[0]["id"]
    assert {part["index"] for part in parts} == {0}
    assert json.loads("".join(part["args"] or "" for part in parts)).keys() == {"way", "steps"}
    assert pieces[-1].response_metadata["finish_reason"] == "tool_calls"


def test_json_answers_follow_the_schema_and_structured_output_reads_them():
    from pydantic import BaseModel, Field

    class Step(BaseModel):
        far: bool
        steps: int = Field(ge=0, le=99)

    schema = Step.model_json_schema()
    model = host(max_tokens=60).chat("tiny", context=2048, adapter=None)
    form = {"type": "json_schema", "json_schema": {"name": "step", "schema": schema}}
    assert Step.model_validate_json(model.invoke("How far?", response_format=form).content)
    assert set(model.with_structured_output(schema).invoke("How far?")) == {"far", "steps"}
    assert isinstance(model.with_structured_output(Step, method="function_calling").invoke("How far?"), Step)


def test_tools_that_may_not_be_called_are_not_shown(chat):
    off, plain = chat(CALL)
    said = off.bind_tools([TOOL], tool_choice="none").invoke("?")
    assert (said.content, said.tool_calls) == (CALL, [])
    assert "find_tile" not in plain.tokenizer.decode(plain.jobs[0].row.prompt)
    with pytest.raises(ProviderError, match="tool_choice names 'nothing'"):
        off.bind_tools([TOOL], tool_choice={"type": "function", "function": {"name": "nothing"}}).invoke("?")


def test_a_call_that_is_cut_off_is_invalid(chat):
    model, _ = chat('{"name": "find_tile", "arguments": {"tile": "x')
    said = model.bind_tools([TOOL]).invoke("?")
    assert (said.tool_calls, [call["name"] for call in said.invalid_tool_calls]) == ([], ["find_tile"])


def test_the_server_passes_tools_and_formats_to_the_local_base():
    from fastapi.testclient import TestClient

    from hafs import council
    from hafs.server.app import RequestLimits, application

    words = ["provider=local", "expert=general", "router=keyword"]
    words += [f"provider.local.host.{key}={value}" for key, value in SETTINGS.items()]
    words += [f"provider.local.models.{tier}=tiny" for tier in ("fast", "coding", "reasoning", "cheap", "fallback")]
    limits = RequestLimits(max_body_bytes=1 << 20, max_requests=2)
    body = {"messages": [{"role": "user", "content": "Where to?"}], "max_tokens": 120}
    calling = body | {"tools": [PLACE], "tool_choice": "required", "parallel_tool_calls": False}
    with TestClient(application(council(words), token=None, limits=limits), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/chat/completions", json=calling).json()
        assert "choices" in answer, answer
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "go"
        lines = client.post("/v1/chat/completions", json=calling | {"stream": True}).text.splitlines()
        deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line.startswith("data: {")]
        assert sum("tool_calls" in delta for delta in deltas) > 3
        said = client.post(
            "/v1/chat/completions", json=body | {"response_format": {"type": "json_object"}, "max_tokens": 4}
        )
        assert said.json()["choices"][0]["message"]["content"].startswith("{")


def test_a_request_has_the_ids_of_training(tokenizer):
    call = {"name": "find_tile", "args": {"tile": "x"}, "id": "c1", "type": "tool_call"}
    messages = [HumanMessage("Where?"), AIMessage("", tool_calls=[call]), ToolMessage("here", tool_call_id="c1")]
    trained = (
        Message(role="user", content="Where?", tools=(TOOL,)),
        Message(role="assistant", content="", calls=(Call(name="find_tile", arguments={"tile": "x"}, id="c1"),)),
        Message(role="tool", content="here", call_id="c1"),
    )
    asked = answer_request(tokenizer, messages, {"tools": [TOOL]})
    assert asked.prompt == render(tokenizer, trained, for_generation=True).tokens
    assert answer_request(tokenizer, messages, {"tools": []}).calls is None
