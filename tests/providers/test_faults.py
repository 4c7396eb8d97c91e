"""Every fault of a server over HTTP, with a healthy second provider: a complete answer, however it is asked for."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chains import MODES, ask, chain, outcomes, remote
from fault_server import ANSWER, FAULTS

from hafs.core.errors import AllProvidersDown, ConfigError
from hafs.providers.quota import Ledger

ROOT = Path(__file__).resolve().parents[2]
TIMED = {"hang", "slow_first_token", "drip"}
BREAKING = {"cut_1", "cut_20", "error_event", "no_finish", "filtered", "drip"}
STREAMED = {"stream", "astream"}
PATIENT = {"deadline_seconds": 20.0, "attempt_seconds": 5.0, "first_token_seconds": 5.0, "idle_seconds": 5.0}


def both(server, fault, **words):
    first = remote(server.url(fault), key="FIRST_KEY")
    return chain(first, remote(server.url("ok"), key="SECOND_KEY", name="second"), **words)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
def test_a_fault_ends_in_the_complete_answer_of_the_second(server, fault, mode):
    times = {} if fault in TIMED else PATIENT  # a busy machine is no fault of the second provider
    message = ask(both(server, fault, **times), mode)
    assert message.text == ANSWER
    assert message.response_metadata["provider"] == "second"
    assert message.response_metadata["finish_reason"] == "stop"
    assert len(outcomes(message)) == 2
    assert outcomes(message)[-1] == "answered"
    assert "canary" not in str(message.response_metadata)
    broken = fault in BREAKING and mode in STREAMED
    assert message.response_metadata["ended"] == ("continued" if broken else "complete")
    if fault not in TIMED | {"refused"}:
        rotation(server)


def rotation(server):
    """The second was asked within 50 ms of the refusal."""
    refused, asked = server.calls
    assert asked.began - refused.ended < 0.05


@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f not in {"400_context", "filtered", "307", "404_model", *TIMED}] + ["refused"]
)
def test_an_account_in_backoff_is_not_called(server, fault):
    model = both(server, fault, backoff_seconds=20.0, longest_backoff_seconds=20.0)
    model.invoke("Why?")
    server.calls.clear()
    for mode in MODES:
        assert outcomes(ask(model, mode)) == ["answered"]
    if fault != "402_in_flight":
        assert server.count(fault) == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("429_seconds", "rate_limited"),
        ("429_quota", "quota_exhausted"),
        ("402_credits", "quota_exhausted"),
        ("402_in_flight", "busy"),
        ("401", "unauthorized"),
        ("404_model", "rejected"),
        ("500_html", "overloaded"),
        ("400_context", "too_long"),
        ("307", "rejected"),
        ("200_error", "overloaded"),
        ("200_rate", "rate_limited"),
        ("200_html", "malformed"),
        ("200_half", "malformed"),
        ("null_content", "empty"),
        ("filtered", "filtered"),
        ("no_finish", "cut"),
        ("reset", "unreachable"),
        ("refused", "unreachable"),
        ("hang", "timeout"),
    ],
)
def test_faults_are_distinguished(server, fault, outcome):
    assert outcomes(both(server, fault).invoke("Why?"))[0] == outcome


@pytest.mark.parametrize(("fault", "seconds"), [("429_seconds", 30), ("429_date", 30), ("429_huge", 86_400)])
def test_a_backoff_lasts_as_long_as_the_host_asks_but_never_years(server, fault, seconds):
    model = both(server, fault)
    model.invoke("Why?")
    first = model.providers[0]
    assert model.ledger.wait(first.host.account, "m", first.limits)[0] == pytest.approx(seconds, abs=1.5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["hang", "slow_first_token", "drip"])
def test_the_deadline_is_kept_within_a_tenth_of_a_second(server, fault, mode):
    model = chain(remote(server.url(fault)), deadline_seconds=0.6, first_token_seconds=9.0, attempt_seconds=9.0)
    began = time.monotonic()
    with pytest.raises(AllProvidersDown):
        ask(model, mode)
    assert time.monotonic() - began < 0.7


def test_a_stream_commits_at_its_first_content(server):
    arrived = []
    for chunk in both(server, "cut_20").stream("Why?"):
        arrived.append(chunk.text)
    assert "".join(arrived) == ANSWER
    assert arrived[0] == "w0 "
    assert max(map(len, arrived)) < 20


def test_a_broken_stream_can_restart_or_raise(server):
    anew = ask(both(server, "cut_20", on_cut="restart"), "stream")
    assert anew.text == ANSWER  # the second gave the same words again: nothing is said twice
    with pytest.raises(AllProvidersDown, match="broke off after") as error:
        ask(both(server, "cut_20", on_cut="error"), "stream")
    assert ANSWER.startswith(error.value.partial)
    assert len(error.value.partial) > 50


def test_a_restart_with_other_text_is_announced(server):
    first = remote(server.url("cut_20"), key="FIRST_KEY")
    message = ask(chain(first, remote(server.url("short"), key="SECOND_KEY"), on_cut="restart"), "stream")
    assert message.text.endswith("[the answer was interrupted and starts again]\n\nyes")
    assert message.response_metadata["ended"] == "restarted"


def test_a_key_is_never_sent_to_another_host_nor_over_plain_http(server):
    model = both(server, "307")
    model.invoke("Why?")
    assert server.count("stolen") == 0
    with pytest.raises(ConfigError, match="allowed only to localhost"):
        remote("http://example.com/v1", key="FIRST_KEY")
    assert remote("http://127.0.0.1:9/v1", key="FIRST_KEY")
    for bad in ("ftp://x/v1", "x", "https://user:word@example.com/v1"):
        with pytest.raises(ConfigError):
            remote(bad)


@pytest.mark.parametrize("mode", MODES)
def test_a_key_appears_only_in_the_request(server, mode, tmp_path, caplog):
    caplog.set_level("DEBUG")
    ledger = Ledger(tmp_path / "quota.json")
    model = chain(remote(server.url("401"), key="SECOND_KEY"), ledger=ledger)
    with pytest.raises(AllProvidersDown) as error:
        ask(model, mode)
    assert server.calls[0].key == "Bearer canary.second.9876543210"
    for text in (str(error.value), repr(error.value.attempts), caplog.text, (tmp_path / "quota.json").read_text()):
        assert "canary" not in text
    assert "canary" not in repr(model)


def test_the_request_carries_what_was_asked(server):
    remote_model = chain(remote(server.url("ok"), headers={"X-Title": "hafs"}), temperature=0.25)
    message = remote_model.invoke("Why?", stop=["end"], max_tokens=5)
    body = server.calls[0].body
    assert body["messages"] == [{"role": "user", "content": "Why?"}]
    assert (body["temperature"], body["stop"], body["max_tokens"], body["model"]) == (0.25, ["end"], 5, "m")
    assert message.usage_metadata["total_tokens"] == 67


def test_a_process_leaves_nothing_open(server):
    code = (
        "import sys, asyncio; sys.path.insert(0, 'tests/providers'); from chains import ask, chain, remote, MODES\n"
        "model = chain(remote(sys.argv[1]))\n"
        "for mode in MODES: ask(model, mode)\n"
        "from hafs.providers import sessions; assert len(sessions._SESSIONS) == 1, sessions._SESSIONS"
    )
    told = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, server.url("ok")],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "Unclosed" not in told.stderr
    assert "never awaited" not in told.stderr


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelled_requests_leave_no_task_no_descriptor_and_no_probe(server, streamed):
    async def one(model):
        if streamed:
            return [chunk async for chunk in model.astream("Why?")]
        return await model.ainvoke("Why?")

    async def main():
        model = chain(remote(server.url("drip")), attempt_seconds=9.0, idle_seconds=9.0)
        await warm(model)
        before = descriptors()
        for i in range(100):
            task = asyncio.create_task(one(model))
            await asyncio.sleep(random.Random(i).random() * 0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == 1
        deadline = time.monotonic() + 4  # the server is in this process too, and notices late
        while descriptors() > before + 2 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        assert descriptors() <= before + 2
        return model

    async def warm(model):
        task = asyncio.create_task(one(model))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    model = asyncio.run(main())
    assert model.ledger.wait(model.providers[0].host.account, "m", model.providers[0].limits) == (0.0, "")


def test_closing_a_stream_ends_the_call(server):
    model = chain(remote(server.url("drip")), idle_seconds=9.0)
    for chunk in model.stream("Why?"):
        assert chunk.text == "w0 "
        break
    deadline = time.monotonic() + 2
    while not server.calls[0].ended and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.calls[0].ended
