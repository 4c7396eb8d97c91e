"""Clients that are not in the development environment: pip install 'litellm>=1.108' llama-index-llms-openai-like."""

import pytest

ONE = "How do I use lda and sta in a subroutine?"
SAID = f"A scripted answer to: {ONE}"
MESSAGES = [{"role": "user", "content": ONE}]


@pytest.mark.filterwarnings("default")
def test_litellm_asks_as_openai_and_as_anthropic(served):
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    address = served()
    openai = {"model": "openai/hafs-council", "api_base": f"{address}/v1", "api_key": "none"}
    whole = litellm.completion(messages=MESSAGES, **openai)
    assert (whole.choices[0].message.content, whole.usage.total_tokens > 0) == (SAID, True)
    streamed = litellm.completion(messages=MESSAGES, stream=True, **openai)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == SAID
    assert litellm.responses(input=ONE, **openai).output[0].content[0].text == SAID
    anthropic = {"model": "anthropic/hafs-council", "api_base": address, "api_key": "none", "max_tokens": 50}
    assert litellm.completion(messages=MESSAGES, **anthropic).choices[0].message.content == SAID


@pytest.mark.filterwarnings("default")
def test_llamaindex_chats_streams_and_completes(served):
    openai_like = pytest.importorskip("llama_index.llms.openai_like", reason="LlamaIndex is not installed")
    from llama_index.core.llms import ChatMessage

    model = openai_like.OpenAILike(
        model="hafs-council", api_base=f"{served()}/v1", api_key="none", is_chat_model=True, context_window=8192
    )
    question = [ChatMessage(role="user", content=ONE)]
    assert model.chat(question).message.content == SAID
    assert "".join(chunk.delta or "" for chunk in model.stream_chat(question)) == SAID
    assert model.complete(ONE).text == SAID
