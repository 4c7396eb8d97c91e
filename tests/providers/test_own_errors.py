"""An error before anything is sent is on our side: no host backs off for it."""

import subprocess
import sys
from pathlib import Path

import pytest
from chains import MODES, ask, chain, provider, remote, scripted
from langchain_core.messages import AIMessage, HumanMessage
from local_nets import host, save_adapter

from hafs.core.errors import AllProvidersDown, InputError
from hafs.providers import local
from hafs.providers.ollama import Ollama
from hafs.providers.openai_client import OpenAIClient
from hafs.providers.quota import Ledger

ROOT = Path(__file__).resolve().parents[2]
BROKEN = "a \udcff"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "quota.json")


@pytest.fixture
def here_only():
    yield
    local.close()


def backoffs_of(model, ledger):
    return [backoff for each in model.providers for backoff in ledger.look(each.host.account)[0].values()]


def outcomes_of(error):
    return [(attempt["outcome"], attempt.get("said", "")) for attempt in error.value.attempts]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "asked",
    [
        BROKEN,
        [HumanMessage([{"type": "text", "text": BROKEN}])],
        [
            HumanMessage("Hi"),
            AIMessage("", tool_calls=[{"name": "t", "args": {"a": [BROKEN]}, "id": "1"}]),
            HumanMessage("Go on"),
        ],
    ],
    ids=["text", "part", "call"],
)
def test_a_lone_surrogate_is_rejected_and_the_host_stays_healthy(server, ledger, mode, asked):
    model = chain(remote(server.url("ok")), scripted(), ledger=ledger)
    with pytest.raises(
        InputError, match=r"message \d \((human|ai)\) is not valid text.*U\+DCFF at character 3"
    ) as error:
        ask(model, mode, asked)
    assert error.value.exit_code == 2
    assert not server.calls and not backoffs_of(model, ledger)


def test_a_lone_surrogate_in_a_parameter_is_rejected(server, ledger):
    model = chain(remote(server.url("ok")), ledger=ledger)
    for words in ({"stop": [BROKEN]}, {"tools": [{"type": "function", "function": {"name": BROKEN}}]}):
        with pytest.raises(InputError, match="U\\+DCFF"):
            model.bind(**words).invoke("Why?")
    assert model.invoke("Is this 🙂 all right?").text
    assert not backoffs_of(model, ledger)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "words, said",
    [({"temperature": 2**70}, "64-bit"), ({"stop": [object()]}, "not JSON serializable")],
)
def test_a_request_that_cannot_be_serialized_does_not_count_against_the_host(server, ledger, mode, words, said):
    model = chain(remote(server.url("ok")), ledger=ledger)
    with pytest.raises(AllProvidersDown) as error:
        ask(model.bind(**words), mode)
    [(outcome, why)] = outcomes_of(error)
    assert outcome == "unsent" and said in why
    assert not server.calls and not backoffs_of(model, ledger)
    assert model.invoke("Why?").text


def test_a_key_with_a_line_break_does_not_count_against_the_host(server, ledger, monkeypatch):
    monkeypatch.setenv("FIRST_KEY", "canary-first\r")
    model = chain(remote(server.url("ok"), key="FIRST_KEY"), ledger=ledger)
    with pytest.raises(AllProvidersDown) as error:
        model.invoke("Why?")
    [(outcome, why)] = outcomes_of(error)
    assert outcome == "unsent" and "FIRST_KEY" in why and "canary" not in str(error.value)
    assert not backoffs_of(model, ledger)


def test_a_message_that_cannot_be_converted_does_not_count_against_the_host(server, ledger, monkeypatch):
    def refuse(*_):
        raise ValueError("no such part")

    monkeypatch.setattr("hafs.providers.openai_client.convert_to_openai_messages", refuse)
    monkeypatch.setattr("hafs.providers.ollama_chat.OllamaChat._chat_params", refuse)
    ollama = provider(Ollama(base_url=f"http://127.0.0.1:{server.port}/ollama", keep_alive="1m"))
    model = chain(remote(server.url("ok")), ollama, ledger=ledger)
    with pytest.raises(AllProvidersDown) as error:
        model.invoke("Why?")
    assert [outcome for outcome, _ in outcomes_of(error)] == ["unsent", "unsent"]
    assert not backoffs_of(model, ledger)


def test_errors_of_the_local_base_cause_no_backoff(ledger, here_only, tmp_path, monkeypatch):
    """A setting that cannot be, an adapter of another base, a template that raises."""
    usual = {"models": dict.fromkeys(("fast", "coding", "reasoning", "cheap", "fallback"), "tiny")}
    wrong = save_adapter(tmp_path / "wrong", words=["model.weights.layers=3"])
    takes = ["temperature", "seed", "top_p"]
    for adapter, words, said in (
        (None, {"top_p": -1.0}, "top_p"),
        (None, {"temperature": 1.0, "seed": 2**80}, "Overflow"),
        (str(wrong), {}, "trained on another base model"),
    ):
        model = chain(
            provider(host(), parameters=takes, **usual), ledger=ledger, adapter=adapter, deadline_seconds=60.0
        )
        with pytest.raises(AllProvidersDown) as error:
            model.bind(**words).invoke("Why?")
        [(outcome, why)] = outcomes_of(error)
        assert outcome == "unsent" and said in why
        assert not backoffs_of(model, ledger)
    model = chain(provider(host(), **usual), ledger=ledger, deadline_seconds=60.0)
    monkeypatch.setattr("hafs.providers.local_chat.render", lambda *_, **__: 1 / 0)
    with pytest.raises(AllProvidersDown):
        model.invoke("Why?")
    assert not backoffs_of(model, ledger)


def test_an_error_on_our_side_ends_no_backoff(server, ledger):
    """Our own error says nothing about it: neither ill, nor well again."""
    model = chain(remote(server.url("ok")), ledger=ledger, backoff_seconds=0.3)
    ledger.back_off(model.providers[0].host.account, "m", lambda _: 0.05, "overloaded", "")
    with pytest.raises(AllProvidersDown):
        model.bind(temperature=2**70).invoke("Why?")
    assert ledger._backoffs


def test_a_call_cut_short_by_the_deadline_causes_no_backoff(ledger):
    """The first provider uses most of the request's time; the second has half of what the policy gives any host."""
    slow = scripted(name="slow", first_token_seconds=9)
    late = scripted(name="late", first_token_seconds=9)
    times = {"deadline_seconds": 1.5, "first_token_seconds": 1.0, "attempt_seconds": 1.0}
    times |= {"backoff_seconds": 30.0, "longest_backoff_seconds": 30.0}
    model = chain(slow, late, ledger=ledger, calls_per_account=1, **times)
    with pytest.raises(AllProvidersDown) as error:
        model.invoke("Why?")
    assert [outcome for outcome, _ in outcomes_of(error)] == ["timeout", "timeout"]
    assert ledger.look(slow.host.account)[0] and not ledger.look(late.host.account)[0]


def test_the_client_alone_raises_it_too(server):
    from hafs.providers.provider_error import ProviderError

    model = OpenAIClient(
        base_url=server.url("ok"), model="m", account="a", api_key_env=None, headers={}, body={}, parameters={}
    )
    with pytest.raises(ProviderError) as refused:
        model.invoke(BROKEN)
    assert refused.value.kind == "unsent"


def hafs(*words, state, **more):
    return subprocess.run(
        [sys.executable, "-m", "hafs.commands.ask", *words, "provider=scripted", "router=keyword", "receipts=null"],
        cwd=state, capture_output=True, timeout=120, check=False, **more,
    )  # fmt: skip


def test_bytes_that_are_not_utf8_are_rejected_in_one_line(tmp_path):
    for words, given, said in (
        ((b"a \xff",), b"", "is not valid text"),
        ((b"question=a \xff",), b"", "is not valid text"),
        ((), b"\x7fELF\x02\xfe\x00", "standard input is not UTF-8 text: byte 0xfe at offset 5"),
    ):
        done = hafs(*words, state=tmp_path, input=given)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr.decode() and b"bug" not in done.stderr and b"Traceback" not in done.stderr
        assert not done.stdout
    done = hafs("Was heißt 🙂?", state=tmp_path, input="naïve\r\n".encode())
    assert done.returncode == 0, done.stderr
