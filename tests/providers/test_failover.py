"""What a chain does when its first provider does not answer; over scripted providers, in milliseconds."""

import time

import pytest
from chains import MODES, ask, chain, outcomes, scripted
from langchain_core.messages import HumanMessage

from hafs.config import build, compose
from hafs.core.errors import AllProvidersDown, ConfigError
from hafs.providers.failover import failover
from hafs.providers.provider import Provider
from hafs.providers.quota import Ledger


@pytest.mark.parametrize("mode", MODES)
def test_a_healthy_provider_answers_alone(mode):
    message = ask(chain(scripted(), scripted()), mode)
    assert message.text == "one two three"
    assert outcomes(message) == ["answered"]
    assert message.response_metadata["ended"] == "complete"
    assert message.usage_metadata["output_tokens"] == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    ["rate_limited", "quota_exhausted", "hang", "empty", "unfinished", "cut_after_0", "cut_after_2", "malformed"],
)
def test_every_fault_of_the_first_ends_in_the_complete_answer_of_the_second(mode, fault):
    message = ask(chain(scripted(faults=[fault], repeat_faults=True), scripted()), mode)
    assert message.text == "one two three"
    broken = mode in ("stream", "astream") and fault in ("unfinished", "cut_after_2")
    between = ["unjoined"] if broken else []  # it repeats what the reader has, so it is asked the whole question
    assert outcomes(message)[1:] == [*between, "answered"]


@pytest.mark.parametrize("mode", MODES)
def test_when_all_fail_the_error_lists_each(mode):
    both = [scripted(name=name, faults=["quota_exhausted"], repeat_faults=True) for name in ("one", "two")]
    with pytest.raises(AllProvidersDown) as error:
        ask(chain(*both), mode)
    assert error.value.exit_code == 69
    assert "one (m)" in str(error.value)
    assert "two (m)" in str(error.value)
    assert [attempt["outcome"] for attempt in error.value.attempts] == ["quota_exhausted"] * 2


def test_a_single_provider_is_called_twice_at_most():
    provider = scripted(faults=["overloaded"], repeat_faults=True)
    with pytest.raises(AllProvidersDown) as error:
        chain(provider).invoke("Why?")
    assert len(error.value.attempts) == 2


def test_a_single_provider_is_called_again_after_its_backoff():
    message = chain(scripted(faults=["overloaded"])).invoke("Why?")
    assert outcomes(message) == ["overloaded", "answered"]


@pytest.mark.parametrize("fault", ["too_long", "rejected", "filtered", "quota_exhausted", "unauthorized"])
def test_an_error_that_would_repeat_is_not_retried(fault):
    with pytest.raises(AllProvidersDown) as error:
        chain(scripted(faults=[fault], repeat_faults=True)).invoke("Why?")
    assert len(error.value.attempts) == 1


def test_a_provider_in_backoff_is_skipped_by_the_next_request():
    first, second = scripted(faults=["rate_limited"], repeat_faults=True), scripted(name="second")
    model = chain(first, second, backoff_seconds=30.0, longest_backoff_seconds=30.0)
    assert outcomes(model.invoke("Why?")) == ["rate_limited", "answered"]
    for mode in MODES:
        assert outcomes(ask(model, mode)) == ["answered"]


def test_after_a_backoff_one_request_probes_and_success_ends_it():
    first = scripted(faults=["overloaded"])
    model = chain(first, scripted(name="second"))
    model.invoke("Why?")
    time.sleep(0.12)
    assert model.invoke("Why?").response_metadata["provider"] == "first"
    assert model.ledger.wait(first.host.account, "m", first.limits) == (0.0, "")


def test_local_models_come_last_when_a_quota_ends():
    class Near(type(scripted().host)):
        local = True

    spent = scripted(name="spent", faults=["quota_exhausted"])
    near = scripted(name="near")
    near = Provider(**{**vars_of(near), "host": Near(**host_of(near))})
    far = scripted(name="far")
    assert chain(spent, near, far).invoke("Why?").response_metadata["provider"] == "far"
    assert (
        chain(scripted(name="busy", faults=["busy"]), near, far).invoke("Why?").response_metadata["provider"] == "near"
    )


def vars_of(provider):
    return {key: value for key, value in vars(provider).items() if not key.startswith("_")}


def host_of(provider):
    return {key: value for key, value in vars(provider.host).items() if not key.startswith("_")}


def test_openrouters_equivalent_is_next_when_a_quota_ends_even_when_it_ended_before():
    table = {"first": dict.fromkeys(("fast", "coding", "reasoning", "cheap", "fallback"), "like-first")}
    router = scripted(name="openrouter", equivalents=table)
    model = chain(scripted(faults=["quota_exhausted"]), scripted(name="second"), router)
    for expected in (["quota_exhausted", "answered"], ["answered"]):
        message = model.invoke("Why?")
        assert outcomes(message) == expected
        assert message.response_metadata["attempts"][-1]["stands_in_for"] == "first"
        assert message.response_metadata["model_name"] == "like-first"


def test_the_fallback_model_of_an_account_is_called_while_another_of_its_models_backs_off():
    tiers = {"fast": "m", "coding": "big", "reasoning": "m", "cheap": "m", "fallback": "small"}
    message = chain(scripted(models=tiers, faults=["overloaded"])).invoke("Why?")
    assert [a["model"] for a in message.response_metadata["attempts"]] == ["big", "small"]


def test_a_provider_whose_context_is_too_small_is_skipped_and_named():
    small = scripted(name="small", context=dict.fromkeys(("fast", "coding", "reasoning", "cheap", "fallback"), 50))
    message = chain(small, scripted(name="large")).invoke("x" * 300)
    assert message.response_metadata["provider"] == "large"
    with pytest.raises(AllProvidersDown, match="context of 50 tokens is too small"):
        chain(small).invoke("x" * 300)


def test_unsupported_parameters_are_dropped_and_listed():
    message = chain(scripted(parameters=["max_tokens"])).invoke("Why?", temperature=0.5, max_tokens=9)
    assert message.response_metadata["attempts"][0]["left_out"] == ["temperature"]


def test_a_provider_without_tools_is_skipped_for_tools():
    def weather(city: str) -> str:
        """The weather."""
        return city

    message = chain(scripted(name="deaf", parameters=[]), scripted(name="able")).bind_tools([weather]).invoke("Why?")
    assert message.response_metadata["provider"] == "able"


def test_our_own_limit_blocks_a_provider():
    first = scripted(limits={"requests_per_day": 2})
    model = chain(first, scripted(name="second"))
    assert [model.invoke("Why?").response_metadata["provider"] for _ in range(4)] == [
        "first",
        "first",
        "second",
        "second",
    ]


def test_the_deadline_of_the_whole_is_kept():
    model = chain(
        scripted(faults=["hang"], repeat_faults=True, name="a"), deadline_seconds=0.5, first_token_seconds=9.0
    )
    for mode in MODES:
        began = time.monotonic()
        with pytest.raises(AllProvidersDown, match=r"within 0\.5 s"):
            ask(
                chain(scripted(faults=["hang"], repeat_faults=True), deadline_seconds=0.5, first_token_seconds=9.0),
                mode,
            )
        assert time.monotonic() - began < 2.0  # a busy machine is late, but no other limit is this short
    assert model


def test_a_backoff_longer_than_the_deadline_is_not_waited_for():
    model = chain(scripted(faults=["overloaded"], repeat_faults=True), backoff_seconds=9.0, longest_backoff_seconds=9.0)
    began = time.monotonic()
    with pytest.raises(AllProvidersDown):
        model.invoke("Why?")
    assert time.monotonic() - began < 0.5


def test_no_key_at_all_names_the_variable(monkeypatch):
    provider = build(compose("providers", ["provider=[openrouter]"]).providers.openrouter)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENROUTER_API_KEY is not set"):
        failover([provider], "fast", ledger=Ledger(None))


def test_a_provider_without_its_key_is_skipped(monkeypatch):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    provider = build(compose("providers", ["provider=[openrouter]"]).providers.openrouter)
    assert outcomes(chain(provider, scripted()).invoke("Why?")) == ["answered"]


def test_the_shipped_option_answers():
    provider = build(compose("providers", ["provider=[scripted]"]).providers.scripted)
    assert isinstance(provider, Provider)
    assert failover([provider], "fast", ledger=Ledger(None)).invoke("Why?").text == "A scripted answer to: Why?"


def test_scripts_answer_by_pattern():
    model = chain(scripted(answers={"asm|65816": "LDA", "yaze": "click"}))
    assert model.invoke([HumanMessage("how in 65816?")]).text == "LDA"
    assert model.invoke("open yaze").text == "click"
    with pytest.raises(ConfigError, match="does not know the fault 'explode'"):
        scripted(faults=["explode"])


def test_an_answer_costs_what_the_price_says():
    price = dict.fromkeys(("fast", "coding", "reasoning", "cheap", "fallback"), (2.0, 4.0))
    attempt = chain(scripted(price=price)).invoke("one two").response_metadata["attempts"][0]
    assert attempt["cost"] == pytest.approx((2 * 2 + 3 * 4) / 1e6)
    assert chain(scripted()).invoke("one two").response_metadata["attempts"][0]["cost"] == "unknown"
