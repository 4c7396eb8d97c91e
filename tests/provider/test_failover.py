import asyncio

import pytest

from hafs.config import build, compose
from hafs.errors import AllProvidersDown
from hafs.policy import Policy
from hafs.provider.failover import failover
from hafs.quota import Ledger

POLICY = {
    "deadline_seconds": 2.0,
    "attempt_seconds": 0.3,
    "first_token_seconds": 0.2,
    "idle_seconds": 0.2,
    "slow_tokens_per_second": 5.0,
    "calls": 8,
    "calls_per_account": 2,
    "rest_seconds": 0.1,
    "longest_rest_seconds": 1.0,
    "quota_rest_seconds": 3600.0,
    "on_cut": "continue",
}


def scripted(**values):
    from hafs.provider import Provider
    from hafs.provider.scripted import Scripted
    from hafs.quota import Limits

    host = {"answers": {}, "otherwise": "one two three", "first_token_seconds": 0, "token_seconds": 0}
    host |= {"faults": [], "repeat_faults": False}
    known = {key: values.pop(key) for key in list(values) if key in host}
    tiers = ("fast", "coding", "reasoning", "cheap", "fallback")
    facts = {
        "name": "scripted",
        "host": Scripted(**{**host, **known}),
        "models": dict.fromkeys(tiers, "m"),
        "context": dict.fromkeys(tiers, 8192),
        "parameters": ["temperature", "max_tokens", "tools", "tool_choice"],
        "limits": Limits(requests_per_minute=None, tokens_per_minute=None, requests_per_day=None, tokens_per_day=None),
        "equivalents": {},
        "price": None,
    }
    return Provider(**{**facts, **values})


def chain(*providers, **words):
    policy = Policy(**{**POLICY, **{k: words.pop(k) for k in list(words) if k in POLICY}})
    return failover(providers, "coding", policy=policy, ledger=words.pop("ledger", Ledger(None)), **words)


def outcomes(message):
    return [attempt["outcome"] for attempt in message.response_metadata["attempts"]]


def ask(model, mode, question="Why?"):
    """The message of an answer, however it is asked for."""

    async def streamed():
        whole = None
        async for chunk in model.astream(question):
            whole = chunk if whole is None else whole + chunk
        return whole

    def summed():
        whole = None
        for chunk in model.stream(question):
            whole = chunk if whole is None else whole + chunk
        return whole

    match mode:
        case "invoke":
            return model.invoke(question)
        case "stream":
            return summed()
        case "ainvoke":
            return asyncio.run(model.ainvoke(question))
        case _:
            return asyncio.run(streamed())


MODES = ["invoke", "stream", "ainvoke", "astream"]


@pytest.mark.parametrize("mode", MODES)
def test_a_healthy_provider_answers_alone(mode):
    message = ask(chain(scripted(), scripted()), mode)
    assert message.text == "one two three"
    assert outcomes(message) == ["answered"]
    assert message.response_metadata["ended"] == "complete"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    ["rate_limited", "quota_exhausted", "hang", "empty", "unfinished", "cut_after_0", "cut_after_2", "malformed"],
)
def test_every_fault_of_the_first_ends_in_the_whole_answer_of_the_second(mode, fault):
    message = ask(chain(scripted(faults=[fault], repeat_faults=True), scripted()), mode)
    assert message.text == "one two three"
    assert len(outcomes(message)) == 2
    assert outcomes(message)[-1] == "answered"


def test_all_down_says_what_each_said():
    both = [scripted(name=name, faults=["quota_exhausted"], repeat_faults=True) for name in ("one", "two")]
    with pytest.raises(AllProvidersDown) as error:
        chain(*both).invoke("Why?")
    assert error.value.exit_code == 69
    assert "one (m)" in str(error.value)
    assert "two (m)" in str(error.value)


def test_the_shipped_option_answers():
    from hafs.provider import Provider

    config = compose("providers", ["provider=[scripted]"])
    provider = build(config.providers.scripted)
    assert isinstance(provider, Provider)
    assert failover([provider], "fast", ledger=Ledger(None)).invoke("Why?").text == "A scripted answer to: Why?"
