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

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)
        writer.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0), loop).result()
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    loop.call_soon_threadsafe(server.close)
    time.sleep(0.02)
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


def test_half_an_object_is_no_answer():
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
def test_deltas_of_tool_calls_without_index_or_id_are_told_apart(ids, indexed):
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
def test_tables_and_numbered_steps_are_no_repetition(text):
    assert not any(repeats(text[:end]) for end in range(64, len(text), 64))
