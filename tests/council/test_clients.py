"""The usual clients of OpenAI's and Anthropic's APIs over loopback."""

import json

import httpx
import openai
import pytest
from loopback_server import listening

from hafs.council.assembly import council
from hafs.server.app import RequestLimits, application

anthropic = pytest.importorskip("anthropic", reason="the anthropic client is not installed")

ONE = "How do I use lda and sta in a subroutine?"
PARAMETERS = {"type": "object", "properties": {"bank": {"type": "integer"}}, "required": ["bank"]}
TOOL = {"type": "function", "function": {"name": "read_bank", "description": "Reads a bank.", "parameters": PARAMETERS}}
SCHEMA = {
    "type": "object", "properties": {"opcode": {"type": "string"}, "bytes": {"type": "integer"}},
    "required": ["opcode", "bytes"], "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def address(host, over, tmp_path_factory):
    """Where a council over that host answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAFS_STATE", str(tmp_path_factory.mktemp("state")))
        chosen = council([*over, "router=cascade", "receipts=null"])
        limits = RequestLimits(max_body_bytes=10_000, max_requests=8)
        with listening(application(chosen, token=None, limits=limits)) as served:
            yield served


@pytest.fixture
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(address):
    with anthropic.Anthropic(base_url=address, api_key="none", max_retries=0) as made:
        yield made


def test_openai_chat_calls_a_tool_and_gets_its_result(client, host):
    messages = [{"role": "user", "content": ONE}]
    first = client.chat.completions.create(model="hafs-council", messages=messages, tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    call = first.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("read_bank", {"bank": 5})
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    second = client.chat.completions.create(model="hafs-council", messages=messages, tools=[TOOL])
    assert second.choices[0].message.content == "It is 42."
    assert host.bodies[-1]["messages"][-1]["tool_call_id"] == call.id


def test_openai_chat_streams_a_call_and_its_reasoning(client):
    with client.chat.completions.stream(
        model="hafs-council", messages=[{"role": "user", "content": ONE}], tools=[TOOL], reasoning_effort="low"
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"bank": 5}'
    assert final.choices[0].message.reasoning_content == "Let me see."


def test_openai_parses_an_answer_into_a_model(client, host):
    from pydantic import BaseModel

    class Line(BaseModel):
        opcode: str
        bytes: int

    got = client.chat.completions.parse(
        model="hafs-council", messages=[{"role": "user", "content": ONE}], response_format=Line
    )
    assert got.choices[0].message.parsed == Line(opcode="lda", bytes=3)
    assert host.bodies[-1]["response_format"]["json_schema"]["strict"] is True
    other = client.responses.parse(model="hafs-council", input=ONE, text_format=Line)
    assert other.output_parsed == Line(opcode="lda", bytes=3)
    assert host.bodies[-1]["response_format"]["json_schema"]["name"] == "Line"


def test_openai_responses_answer_think_and_call(client, host):
    got = client.responses.create(
        model="hafs-council", input=ONE, instructions="Be brief.", reasoning={"effort": "low"}, max_output_tokens=64
    )
    assert got.output_text == f"You said: {ONE}"
    assert [item.type for item in got.output] == ["reasoning", "message"]
    assert got.output[0].content[0].text == "Let me see."
    assert (got.usage.input_tokens, got.usage.input_tokens_details.cached_tokens) == (11, 3)
    assert got.usage.output_tokens_details.reasoning_tokens == 2
    assert host.bodies[-1]["messages"][0]["content"].endswith("Be brief.")
    assert host.bodies[-1]["max_tokens"] == 64

    flat = {"type": "function", **TOOL["function"], "strict": None}
    asked = [{"role": "user", "content": [{"type": "input_text", "text": ONE}]}]
    first = client.responses.create(model="hafs-council", input=asked, tools=[flat], reasoning={"effort": "low"})
    call = next(item for item in first.output if item.type == "function_call")
    assert (call.name, json.loads(call.arguments)) == ("read_bank", {"bank": 5})
    asked += [*first.output, {"type": "function_call_output", "call_id": call.call_id, "output": "42"}]
    second = client.responses.create(model="hafs-council", input=asked, tools=[flat])
    assert second.output_text == "It is 42."
    sent = host.bodies[-1]["messages"]
    assert [message["role"] for message in sent][-3:] == ["user", "assistant", "tool"]
    assert sent[-2]["reasoning_content"] == "Let me see."


def test_openai_responses_stream_every_event_in_order(client):
    with client.responses.stream(model="hafs-council", input=ONE, reasoning={"effort": "low"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text.strip() == f"You said: {ONE}"
    assert final.status == "completed"
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert "response.reasoning_text.delta" in kinds
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    flat = {"type": "function", **TOOL["function"], "strict": False}
    with client.responses.stream(model="hafs-council", input=ONE, tools=[flat]) as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments) for event in done] == [{"bank": 5}]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"previous_response_id": "resp_1"}, "not stored"),
        ({"tools": [{"type": "web_search"}]}, "OpenAI's own servers"),
        ({"input": [{"type": "computer_call"}]}, "no item of type"),
        ({"temperature": 9}, "temperature"),
    ],
)
def test_unsupported_fields_of_responses_are_rejected(client, more, said):
    with pytest.raises(openai.BadRequestError, match=said):
        client.responses.create(**{"model": "hafs-council", "input": ONE, **more})


def test_openai_completes_lists_retrieves_and_embeds(client):
    got = client.completions.create(model="hafs-council", prompt=ONE)
    assert got.choices[0].text == f"You said: {ONE}"
    streamed = client.completions.create(model="hafs-council", prompt=ONE, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed).strip() == got.choices[0].text
    assert client.models.retrieve("hyrule-asm-v1").id == "hyrule-asm-v1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")
    texts = ["lda sta", "load and store", "a birthday cake"]
    vectors = [item.embedding for item in client.embeddings.create(model="router", input=texts).data]
    plain = client.embeddings.create(model="router", input=texts, encoding_format="float")
    assert len(vectors[0]) == 384
    assert vectors[0] == pytest.approx(plain.data[0].embedding, abs=1e-6)
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > far
    assert plain.usage.prompt_tokens > 6


def test_a_router_without_an_encoder_embeds_nothing(served):
    got = httpx.post(f"{served()}/v1/embeddings", json={"model": "router", "input": "x"})
    assert (got.status_code, "no encoder" in got.text) == (404, True)


def test_anthropic_answers_thinks_and_calls(claude, host):
    got = claude.messages.create(
        model="hafs-council", max_tokens=64, system="Be brief.", stop_sequences=["END"],
        messages=[{"role": "user", "content": ONE}], extra_body={"reasoning_effort": "low"},
    )  # fmt: skip
    assert [block.type for block in got.content] == ["thinking", "text"]
    assert got.content[0].thinking == "Let me see."
    assert got.content[1].text == f"You said: {ONE}"
    assert (got.stop_reason, got.usage.input_tokens, got.usage.cache_read_input_tokens) == ("end_turn", 8, 3)
    assert host.bodies[-1]["stop"] == ["END"]
    assert host.bodies[-1]["messages"][0]["content"].endswith("Be brief.")

    tool = {"name": "read_bank", "description": "Reads a bank.", "input_schema": PARAMETERS}
    messages = [{"role": "user", "content": [{"type": "text", "text": ONE}]}]
    first = claude.messages.create(model="hafs-council", max_tokens=64, messages=messages, tools=[tool])
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert (call.name, call.input) == ("read_bank", {"bank": 5})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "42"}]}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = claude.messages.create(
        model="hafs-council", max_tokens=64, messages=messages, tools=[tool], tool_choice={"type": "any"}
    )
    assert second.content[0].text == "It is 42."
    assert host.bodies[-1]["tool_choice"] == "required"
    assert [message["role"] for message in host.bodies[-1]["messages"]][-2:] == ["assistant", "tool"]


def test_anthropic_streams_blocks(claude):
    with claude.messages.stream(
        model="hafs-council", max_tokens=64, messages=[{"role": "user", "content": ONE}],
        extra_body={"reasoning_effort": "low"},
    ) as stream:  # fmt: skip
        assert "".join(stream.text_stream).strip() == f"You said: {ONE}"
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 5)
    tool = {"name": "read_bank", "description": "", "input_schema": PARAMETERS}
    with claude.messages.stream(
        model="hafs-council", max_tokens=64, messages=[{"role": "user", "content": ONE}], tools=[tool]
    ) as stream:
        final = stream.get_final_message()
    assert (final.content[-1].name, final.content[-1].input) == ("read_bank", {"bank": 5})


def test_anthropic_errors_are_in_its_own_schema(served, claude):
    with pytest.raises(anthropic.NotFoundError) as refused:
        claude.messages.create(model="x", max_tokens=1, messages=[{"role": "user", "content": ONE}])
    assert refused.value.body["error"]["type"] == "not_found_error"
    address = served("provider.scripted.host.faults=[cut_after_3,failed]", "provider.scripted.host.repeat_faults=true")
    body = {"model": "hafs-council", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": ONE}]}
    text = httpx.post(f"{address}/v1/messages", json=body, timeout=20).text
    assert text.rsplit("event: ", 1)[1].startswith(
        'error\ndata: {"type": "error", "error": {"type": "overloaded_error"'
    )


def test_anthropic_lists_models_with_its_own_key_header(served):
    with anthropic.Anthropic(base_url=served(token="correct-horse-battery"), api_key="correct-horse-battery") as client:
        assert client.models.list().data[0].id == "hafs-council"
        assert client.models.retrieve("hafs-council").id == "hafs-council"


async def test_a_langgraph_agent_calls_a_tool(address):
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    def read_bank(bank: int) -> str:
        """Reads a bank."""
        return str(bank * 10)

    model = ChatOpenAI(base_url=f"{address}/v1", api_key="none", model="hafs-council")
    bound = model.bind_tools([read_bank])

    async def agent(state):
        return {"messages": [await bound.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("agent", agent).add_node("tools", ToolNode([read_bank]))
    graph = graph.add_edge(START, "agent").add_conditional_edges("agent", tools_condition).add_edge("tools", "agent")
    state = await graph.compile().ainvoke({"messages": [("user", ONE)]})
    assert state["messages"][-1].text == "It is 50."
    model.root_client.close()
    await model.root_async_client.close()


def test_web_pages_of_allowed_origins_may_ask_and_others_may_not(served):
    address = served(cors=["https://editor.example"])
    headers = {"origin": "https://editor.example", "access-control-request-method": "POST"}
    preflight = httpx.options(f"{address}/v1/chat/completions", headers=headers)
    assert preflight.headers["access-control-allow-origin"] == "https://editor.example"
    got = httpx.get(f"{address}/v1/models", headers=headers)
    assert (got.status_code, got.headers["access-control-allow-origin"]) == (200, "https://editor.example")
    other = httpx.get(f"{address}/v1/models", headers={"origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers
    same = httpx.get(f"{address}/v1/models", headers={"origin": address})
    assert same.status_code == 200


def test_aliases_name_the_council_and_its_experts(served):
    address = served(aliases={"gpt-4o": "hafs-council", "code": "asm", "*": "general"})
    answered = {
        name: httpx.post(
            f"{address}/v1/chat/completions", json={"model": name, "messages": [{"role": "user", "content": ONE}]}
        ).headers["x-hafs-answered-by"]
        for name in ("gpt-4o", "code", "claude-sonnet-5")
    }
    assert {name: said.split("=")[0] for name, said in answered.items()} == {
        "gpt-4o": "asm", "code": "asm", "claude-sonnet-5": "general",
    }  # fmt: skip
    assert [m["id"] for m in httpx.get(f"{address}/v1/models").json()["data"]][-2:] == ["gpt-4o", "code"]


def test_a_body_is_read_whatever_its_content_type_says(served):
    body = json.dumps({"model": "hafs-council", "messages": [{"role": "user", "content": ONE}]})
    address = served()
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=utf-8"}):
        assert httpx.post(f"{address}/v1/chat/completions", content=body, headers=headers).status_code == 200
