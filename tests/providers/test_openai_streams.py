"""Streams of hosts with OpenAI's chat completions, byte by byte as they are sent, over loopback."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from functools import reduce
from operator import add

import pytest
from chains import chain, outcomes, remote, scripted

from hafs.core.errors import AllProvidersDown
from hafs.providers.repetition import STOPPED, repeats

END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def delta(finish=None, **facts):
    return {"choices": [{"index": 0, "delta": facts, "finish_reason": finish}]}


def event(facts):
    return f"data: {json.dumps(facts)}\n\n".encode()


@contextmanager
def sending(*parts):
    """A server that sends these bytes for every request; a number is a pause in seconds."""

    open_writers = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(size)
        open_writers.append(writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)
        writer.close()

    async def end():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in open_writers:
            writer.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0), loop).result()
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    loop.call_soon_threadsafe(server.close)
    time.sleep(0.02)
    asyncio.run_coroutine_threadsafe(end(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def streamed(*parts, **words):
    with sending(*parts) as url:
        return reduce(add, chain(remote(url), **words).stream("Why?"))


@pytest.mark.parametrize(
    "parts",
    [
        (b": keep-alive\n\n", event(delta(content="yes")), b":\n\ndata:\n\ndata: \n\n", event(END)),
        (b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "yes"}}]}\n\n', event(END)),
        (event(delta(content="yes")).replace(b"\n", b"\r\n"), event(END).replace(b"\n", b"\r\n")),
        (event(delta(content="yes")).replace(b"\n", b"\r"), event(END).replace(b"\n", b"\r")),
        (b"event: message\nid: 1\nretry: 5\n" + event(delta(content="yes")), event(END), b"data: [DONE]\n\n"),
    ],
    ids=["comments and empty data", "data over two lines", "CRLF", "CR", "other fields"],
)
def test_every_form_of_an_event_stream_is_read(parts):
    assert streamed(*parts).text == "yes"


def test_half_an_object_is_not_an_answer():
    with pytest.raises(AllProvidersDown, match="malformed"):
        streamed(b'data: {"choices": [{"index"\n\n', calls_per_account=1)


def test_reasoning_keeps_a_stream_alive_and_is_passed_on():
    thinking = [part for k in range(4) for part in (event(delta(reasoning_content=f"step {k} ")), 0.15)]
    got = streamed(*thinking, event(delta(content="yes")), event(END))
    assert got.text == "yes"
    assert got.additional_kwargs["reasoning_content"] == "step 0 step 1 step 2 step 3 "
    assert outcomes(got) == ["answered"]


def test_totals_so_far_are_not_added_up():
    usage = [
        {
            "prompt_tokens": 7,
            "completion_tokens": k,
            "total_tokens": 7 + k,
            "prompt_tokens_details": {"cached_tokens": 5},
        }
        for k in (1, 2, 3)
    ]
    got = streamed(*(event({**delta(content="x"), "usage": told}) for told in usage), event(END))
    assert (got.usage_metadata["input_tokens"], got.usage_metadata["output_tokens"]) == (7, 3)
    assert got.usage_metadata["total_tokens"] == 10
    assert got.usage_metadata["input_token_details"] == {"cache_read": 5}


def call(index=None, call_id=None, name=None, arguments=None):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    told = {"type": "function", "function": function}
    return {"tool_calls": [told | {k: v for k, v in (("index", index), ("id", call_id)) if v is not None}]}


@pytest.mark.parametrize("ids", [("a", "b"), (None, None)])
@pytest.mark.parametrize("indexed", [True, False])
def test_deltas_of_tool_calls_without_index_or_id_are_distinguished(ids, indexed):
    deltas = []
    for number, call_id in enumerate(ids):
        index = number if indexed else None
        deltas += [call(index, call_id, "f", '{"x": '), call(index, None, None, f"{number}}}")]
    got = streamed(*(event(delta(**told)) for told in deltas), event(delta("tool_calls")))
    assert [(made["name"], made["args"]) for made in got.tool_calls] == [("f", {"x": 0}), ("f", {"x": 1})]
    assert len({made["id"] for made in got.tool_calls} - {None}) == 2


def test_broken_arguments_are_an_error_and_the_next_provider_is_asked():
    broken = event(delta(**call(0, "a", "f", '{"x": '))), event(delta("tool_calls"))
    with sending(*broken) as url:
        got = reduce(add, chain(remote(url), scripted(name="second")).stream("Why?"))
    assert outcomes(got) == ["malformed", "answered"]


def test_an_answer_that_repeats_itself_is_stopped_and_says_so():
    sentence = "The routine stores the value in the register. "
    got = streamed(*(event(delta(content=sentence)) for _ in range(60)), event(END))
    assert got.text.endswith(STOPPED)
    assert got.text.count(sentence.strip()) < 15
    assert got.response_metadata["finish_reason"] == "length"
    assert got.response_metadata["stopped"] == "repetition"


@pytest.mark.parametrize(
    "text",
    [
        "    .db $00, $00, $00, $00\n" * 64,
        "".join(f"Step {k}. Load the next value into the register.\n" for k in range(40)),
        "-" * 200,
        "\n".join(f"    lda ${k:02X}\n    sta $2118\n    nop\n    nop" for k in range(60)),
    ],
)
def test_tables_and_numbered_steps_are_not_repetition(text):
    assert not any(repeats(text[:end]) for end in range(64, len(text), 64))


def whole(*parts, **words):
    """A complete answer, while another provider could answer; and the seconds that it took."""
    with sending(*parts) as url:
        began = time.monotonic()
        answer = chain(remote(url, **words.pop("facts", {})), scripted(name="second"), **words).invoke("Why?")
        return answer, time.monotonic() - began


def test_a_caller_that_does_not_stream_waits_no_longer_for_a_silent_host():
    answer, seconds = whole(event(delta(content="")), 3.0, attempt_seconds=3.0)
    assert outcomes(answer) == ["timeout", "answered"]
    assert seconds < 1.5
    answer, seconds = whole(event(delta(content="yes")), 3.0, attempt_seconds=3.0)
    assert outcomes(answer) == ["timeout", "answered"]
    assert seconds < 1.5


def test_an_answer_that_is_slower_than_the_first_token_is_waited_for_while_it_grows():
    parts = [part for k in range(4) for part in (event(delta(content=f"{k} ")), 0.2)]
    answer, _ = whole(*parts, event(END), attempt_seconds=3.0)
    assert answer.text == "0 1 2 3 "
    assert outcomes(answer) == ["answered"]


def test_an_answer_read_as_a_stream_is_whole_in_all_its_parts():
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0.5}
    chances = [{"token": t, "logprob": -1.0, "bytes": None, "top_logprobs": []} for t in ("ye", "s")]
    parts = [
        event(delta(reasoning_content="well, ")), event(delta(reasoning_content="so")),
        event({"choices": [{"index": 0, "delta": {"content": "ye"}, "logprobs": {"content": chances[:1]}}]}),
        event({"choices": [{"index": 0, "delta": {"content": "s"}, "logprobs": {"content": chances[1:]}}]}),
        event(delta(**call(0, "a", "f", '{"x": '))), event(delta(**call(0, None, None, "1}"))),
        event(delta("tool_calls")), event({"choices": [], "usage": usage}),
    ]  # fmt: skip
    answer, _ = whole(*parts)
    assert answer.text == "yes"
    assert answer.additional_kwargs["reasoning_content"] == "well, so"
    assert [(made["name"], made["args"], made["id"]) for made in answer.tool_calls] == [("f", {"x": 1}, "a")]
    assert answer.usage_metadata["total_tokens"] == 9
    assert answer.response_metadata["attempts"][0]["cost"] == 0.5
    assert answer.response_metadata["logprobs"]["content"] == chances
    with sending(*parts) as url:
        streamed = reduce(add, chain(remote(url)).stream("Why?"))
    assert streamed.response_metadata["logprobs"]["content"] == chances


def test_broken_arguments_and_a_cut_are_errors_of_a_whole_answer_too():
    answer, _ = whole(event(delta(**call(0, "a", "f", '{"x": '))), event(delta("tool_calls")))
    assert outcomes(answer) == ["malformed", "answered"]
    answer, _ = whole(event(delta(content="ye")))
    assert outcomes(answer) == ["cut", "answered"]


def test_an_account_that_may_not_stream_is_asked_for_the_answer_in_one_piece(server):
    answer = chain(remote(server.url("400_stream")), scripted(name="second")).invoke("Why?")
    assert answer.text == "yes"
    assert outcomes(answer) == ["answered"]


def test_a_line_end_that_is_split_between_two_packets_is_one_line_end():
    text = event(delta(content="yes")).replace(b"\n", b"\r\n")
    two = b'data: {"choices": [{"index": 0,\r'
    rest = b'\ndata: "delta": {"content": "yes"}}]}\r\n\r\n'
    assert streamed(two, 0.05, rest, event(END)).text == "yes"
    assert streamed(text[:-3], 0.05, text[-3:-1], 0.05, text[-1:], event(END)).text == "yes"


@pytest.mark.parametrize("takes", [True, False])
def test_the_reasoning_of_earlier_answers_goes_back_to_hosts_that_take_it(server, takes):
    history = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because.", "reasoning_content": "well, so"},
        {"role": "user", "content": "And then?"},
    ]
    parameters = ["max_tokens", *(["reasoning_content"] if takes else [])]
    answer = chain(remote(server.url("ok"), parameters=parameters)).invoke(history)
    sent = server.calls[-1].body["messages"]
    assert [message["content"] for message in sent] == [message["content"] for message in history]
    assert sent[1].get("reasoning_content") == ("well, so" if takes else None)
    left_out = answer.response_metadata["attempts"][0].get("left_out", [])
    assert ("reasoning_content" in left_out) is not takes
