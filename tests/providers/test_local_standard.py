"""LangChain's own conformance suite on the local provider, and on llama.cpp with the real model.

What it skips, and why:

* tool calling, tool choice, structured output, JSON mode, agent loop on the local provider: its base is constrained by
  scored labels instead (`score_labels`).
* over llama.cpp there are two classes. Tools are called greedily; for structured output and JSON mode SmolLM2 gets a
  penalty on words it said before, without which it tells of a cat that is a cat that is a cat until it is cut off.
* images, audio, PDF, Anthropic's blocks: these bases read text only, and say so.
* time of a stream: needs recorded HTTP traffic, and there is none.
* serialization: a model in this process is not sent elsewhere.
"""

from typing import ClassVar

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from local_nets import host

from hafs.providers import llamacpp_server, local
from hafs.providers.llamacpp import LlamaCpp
from hafs.providers.llamacpp_chat import LlamaChat
from hafs.providers.local_chat import LocalChat


class Limits:
    has_tool_calling = has_structured_output = supports_json_mode = False
    supports_model_override = True
    model_override_value = "tiny"


class Tiny(Limits):
    chat_model_class = LocalChat
    chat_model_params: ClassVar = {"host": host(), "model": "tiny", "context": 2048}


class Real(Limits):
    chat_model_class = LocalChat
    chat_model_params: ClassVar = {
        "host": host(quant="nf4", precision="auto"),
        "model": "smollm2_135m",
        "context": 2048,
        "max_tokens": 24,
    }


class LlamaCppReal:
    has_structured_output = False
    supports_model_override = True
    model_override_value = "tiny"
    chat_model_class = LlamaChat
    chat_model_params: ClassVar = {
        "host": LlamaCpp(kind="bf16", slots=4, threads=1, max_tokens=24),
        "model": "smollm2_135m",
        "context": 4096,
        "parameters": {"max_tokens": 96},
    }


class LlamaCppSchemas(LlamaCppReal):
    has_tool_calling = False
    has_structured_output = supports_json_mode = True
    chat_model_params: ClassVar = LlamaCppReal.chat_model_params | {
        "parameters": {"max_tokens": 256, "frequency_penalty": 0.6}
    }


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    local.close()
    llamacpp_server.close()


class TestTinyUnit(Tiny, ChatModelUnitTests):
    pass


class TestTiny(Tiny, ChatModelIntegrationTests):
    pass


class TestLlamaCppUnit(LlamaCppReal, ChatModelUnitTests):
    pass


@pytest.mark.long
class TestReal(Real, ChatModelIntegrationTests):
    pass


@pytest.mark.long
class TestLlamaCpp(LlamaCppReal, ChatModelIntegrationTests):
    pass


@pytest.mark.long
class TestLlamaCppSchemas(LlamaCppSchemas, ChatModelIntegrationTests):
    pass
