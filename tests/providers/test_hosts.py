"""Hosts with words of their own: OpenRouter, Ollama, adapters by name; tools over the wire; the command."""

import os
import subprocess
import sys
import time
from pathlib import Path

import fault_server
import pytest
from chains import MODES, ask, chain, provider, remote
from fault_server import ANSWER

from hafs.config import build, compose
from hafs.providers import served_adapters
from hafs.providers.ollama import Ollama
from hafs.providers.remote import openai_compatible, openrouter

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mode", MODES)
def test_openrouter_gets_our_attribution_and_preferences_and_reports_the_cost(server, mode):
    host = openrouter(
        base_url=server.url("ok"),
        api_key_env="FIRST_KEY",
        site_url="https://example.com",
        app_name="hafs",
        routing={"sort": "price"},
    )
    message = ask(chain(provider(host)), mode)
    call = server.calls[0]
    assert (call.headers["http-referer"], call.headers["x-title"]) == ("https://example.com", "hafs")
    assert call.body["provider"] == {"sort": "price"}
    assert message.response_metadata["attempts"][0]["cost"] == 0.0125
    assert host.health().quota == "$4.50 left, $0.50 used"


def test_openrouter_has_an_equivalent_for_each_tier_of_each_paid_provider():
    config = compose("providers", ["provider=[openai,anthropic,gemini,openrouter]"]).providers
    router = build(config.openrouter)
    for name in ("openai", "anthropic", "gemini"):
        assert router.equivalents[name].keys() == router.models.keys()


@pytest.mark.parametrize("mode", MODES)
def test_ollama_gets_its_context_and_a_cut_prompt_is_told(server, mode):
    host = Ollama(base_url=f"http://127.0.0.1:{server.port}/ollama", keep_alive="1m")
    message = ask(chain(provider(host), max_tokens=9), mode)
    assert message.text == ANSWER
    assert message.response_metadata["finish_reason"] == "stop"
    assert server.calls[0].body["options"] == {"num_ctx": 8192, "num_predict": 9}
    full = Ollama(base_url=f"http://127.0.0.1:{server.port}/ollama8192", keep_alive="1m")
    with pytest.warns(UserWarning, match="the prompt was cut off"):
        ask(chain(provider(full)), mode)


def test_an_adapter_is_the_model_of_its_name_where_the_host_carries_adapters(server):
    for adapters, model in ((True, "asm-v1"), (False, "m")):
        host = openai_compatible(base_url=server.url("ok"), api_key_env=None, headers={}, adapters=adapters, body={})
        chain(provider(host), adapter="asm-v1").invoke("Why?")
        assert server.calls[-1].body["model"] == model


def adapters(server):
    return openai_compatible(base_url=server.url("adapters"), api_key_env=None, headers={}, adapters=True, body={})


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What earlier tests learned of the server's adapters."""
    monkeypatch.setattr(served_adapters, "_found", {})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("adapter", "served"), [("hyrule-asm", "hyrule-asm-v10"), ("yaze-sage-v3", "yaze-sage")])
def test_an_adapter_that_a_server_has_under_another_name_is_found_in_its_list(server, mode, adapter, served):
    model = chain(provider(adapters(server)), adapter=adapter)
    for calls in (2, 3):  # the second question needs no look at the list
        message = ask(model, mode)
        assert [call.body["model"] for call in server.calls][1:] == [served] * (calls - 1)
        assert message.text == ANSWER and message.response_metadata["attempts"][0]["adapter"] == served


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adapter", ["debug-oracle", "hyrule-asm-v3"])
def test_an_adapter_that_a_server_lacks_falls_back_to_its_base_and_the_receipt_says_so(server, mode, adapter):
    message = ask(chain(provider(adapters(server)), adapter=adapter), mode)
    attempt = message.response_metadata["attempts"][0]
    assert message.text == ANSWER and server.calls[-1].body["model"] == "m"
    assert attempt["without_adapter"] == adapter and "adapter" not in attempt


def test_a_server_that_gets_an_adapter_later_is_asked_for_it_again(server, monkeypatch):
    model = chain(provider(adapters(server)), adapter="debug-oracle")
    model.invoke("Why?")
    monkeypatch.setattr(fault_server, "ADAPTERS", ("m", "debug-oracle-v1"))
    assert "without_adapter" in model.invoke("Why?").response_metadata["attempts"][0]
    later = time.monotonic() + 61
    monkeypatch.setattr(served_adapters.time, "monotonic", lambda: later)
    assert model.invoke("Why?").response_metadata["attempts"][0]["adapter"] == "debug-oracle-v1"


def test_tools_are_sent_in_openais_format(server):
    def weather(city: str) -> str:
        """The weather of a city."""
        return city

    chain(remote(server.url("ok"))).bind_tools([weather], tool_choice="weather").invoke("Why?")
    body = server.calls[0].body
    assert body["tools"][0]["function"]["name"] == "weather"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def command(*words, state, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "hafs", "providers", *words],
        env={**clean, "COLUMNS": "200", "HAFS_STATE": str(state), "PYTHONPATH": str(ROOT), **environment},
        cwd=state,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_shows_keys_reachability_and_models(server, tmp_path):
    words = ["provider=openai,openrouter,openai_compatible", "provider.openai_compatible.models.fast=m"]
    words += [f"provider.openai_compatible.host.base_url={server.url('ok')}"]
    words += [f"provider.openrouter.host.base_url={server.url('401')}"]
    words += ["provider.openai_compatible.limits.requests_per_day=50"]
    told = command(*words, state=tmp_path, OPENROUTER_API_KEY="canary.0123456789")
    assert told.returncode == 0, told.stderr
    for said in ("OPENAI_API_KEY is not set", "unauthorized: 401", "50 of 50 requests left this day", "2 offered"):
        assert said in told.stdout
    assert "canary" not in told.stdout + told.stderr


def test_the_command_names_the_adapters_that_a_server_lacks(server, tmp_path):
    told = command("provider=vllm", f"provider.vllm.host.base_url={server.url('adapters')}", state=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "adapters not served: debug-oracle" in told.stdout


def test_the_command_exits_with_69_if_no_provider_can_answer(tmp_path):
    told = command("provider=openai", state=tmp_path)
    assert told.returncode == 69
    assert "no provider can answer" in told.stderr
    wrong = command("provider=opnai", state=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'openai'" in wrong.stderr
    address = command("provider=vllm", "provider.vllm.host.base_url=example.com", state=tmp_path)
    assert address.returncode == 2
    assert address.stderr.startswith("hafs: base_url is 'example.com'")
    key = command("provider=openai", "+provider.openai.host.api_key=sk-abcdefghijklmnop1234", state=tmp_path)
    assert key.returncode == 2
    assert "secret in plain text" in key.stderr
    assert "abcdefghijklmnop" not in key.stderr
