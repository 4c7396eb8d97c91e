"""Chat models of LangChain's packages as hosts behind failover, with langchain-openai as the example."""

import pytest
from chains import MODES, ask, chain, outcomes, provider, scripted
from fault_server import ANSWER

from hafs.config import compose
from hafs.config.build import build
from hafs.core.errors import ConfigError
from hafs.providers.langchain import langchain

KEY = "FIRST_KEY"
PATIENT = {"deadline_seconds": 20.0, "attempt_seconds": 10.0, "first_token_seconds": 10.0, "idle_seconds": 10.0}
langchain_openai = pytest.importorskip("langchain_openai")  # its import takes longer than the time for a call here


def over(url, target="langchain_openai.ChatOpenAI", **arguments):
    model = {"_target_": target, "base_url": url, "api_key": "sk-none", **arguments}
    return provider(langchain(model=model, model_argument="model", api_key_env=KEY))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["ok", "429_seconds", "500_html", "401", "refused", "hang", "cut_20", "no_finish"])
def test_a_fault_of_a_langchain_model_ends_in_a_complete_answer(server, mode, fault):
    patience = {} if fault == "hang" else PATIENT
    answer = ask(chain(over(server.url(fault)), over(server.url("ok")), **patience), mode)
    assert answer.text == ANSWER
    assert outcomes(answer)[-1] == "answered"
    assert len(outcomes(answer)) == (1 if fault == "ok" else 2)
    assert answer.usage_metadata["total_tokens"] > 0


def test_its_errors_are_of_the_kinds_of_all_hosts(server):
    kinds = {"429_seconds": "rate_limited", "401": "unauthorized", "500_html": "overloaded", "refused": "unreachable"}
    for fault, kind in kinds.items():
        answer = ask(chain(over(server.url(fault)), scripted(name="second"), **PATIENT), "ainvoke")
        assert outcomes(answer) == [kind, "answered"]
        assert server.count(fault) <= 1, "the client retries by itself"
        server.calls.clear()


def test_azure_is_asked_at_its_deployment(server):
    address = server.url("ok").removesuffix("/v1")
    model = {
        "_target_": "langchain_openai.AzureChatOpenAI", "azure_endpoint": address, "api_version": "2024-10-21",
        "api_key": "sk-none",
    }  # fmt: skip
    host = langchain(model=model, model_argument="azure_deployment", api_key_env=None)
    answer = ask(chain(provider(host), **PATIENT), "ainvoke")
    assert answer.text == ANSWER
    assert server.calls[-1].headers["api-key"] == "sk-none"


def test_tools_go_in_the_form_of_the_package(server):
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    model = chain(over(server.url("ok"))).bind_tools([tool], tool_choice="any")
    assert model.invoke("Why?").text == ANSWER
    assert server.calls[-1].body["tools"][0]["function"]["name"] == "f"
    assert server.calls[-1].body["tool_choice"] == "required"


def test_the_shipped_option_is_passed_over_without_its_key_and_refuses_what_is_no_chat_model(monkeypatch, server):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shipped = build(compose("ask", ["provider=langchain"]).providers.langchain)
    assert shipped.host.missing_key() == "OPENAI_API_KEY"
    answer = ask(chain(shipped, scripted(name="second")), "invoke")
    assert answer.response_metadata["provider"] == "second"
    with pytest.raises(ConfigError, match="not a LangChain chat model"):
        over(server.url("ok"), "langchain_openai.OpenAIEmbeddings").chat("coding")
    with pytest.raises(ConfigError, match="has no _target_"):
        langchain(model={}, model_argument="model", api_key_env=None)
