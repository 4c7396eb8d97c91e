"""Who answers the tasks of the suite: a net in memory, or a LangChain chat model (a council, a chain of providers)."""

from collections.abc import Sequence
from typing import Any

from hafs.chat import Message
from hafs.evaluation.rom.suite import ANSWER_TOKENS, AskTasks

CONCURRENCY = 16
"""Concurrent requests."""


def of_net(net: Any, tokenizer: Any, *, concurrency: int, max_new_tokens: int) -> AskTasks:
    """Greedy answers of a loaded model, its adapter on or off."""

    def ask(prompts: Sequence[str]) -> Sequence[str | None]:
        from hafs.evaluation.rows import answers
        from hafs.modeling.generation import for_inference

        asked = [(Message(role="user", content=prompt),) for prompt in prompts]
        with for_inference(net):
            limit = max(max_new_tokens, ANSWER_TOKENS)
            return [given.answer for given in answers(net, tokenizer, asked, limit, concurrency, lambda *_: None)]

    return ask


def of_chat(chat: Any, *, max_new_tokens: int) -> AskTasks:
    """Answers of a chat model; a failed request has no answer.

    Args:
        chat: It takes `batch`, as all of LangChain's chat models do.
        max_new_tokens: Longest answer.
    """

    def ask(prompts: Sequence[str]) -> Sequence[str | None]:
        replies = chat.batch(list(prompts), {"max_concurrency": CONCURRENCY}, return_exceptions=True,
                             max_tokens=max(max_new_tokens, ANSWER_TOKENS), temperature=0.0)  # fmt: skip
        return [None if isinstance(reply, BaseException) else str(reply.text) for reply in replies]

    return ask
