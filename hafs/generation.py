"""Answers of a model to prompts, many at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from hafs.text import Conversation, end_tokens, render


class Answer(NamedTuple):
    """What a model said."""

    text: str
    tokens: int
    """Tokens of the answer, its end token not counted."""
    ended: bool
    """Whether it ended by itself; else it was cut at the limit."""


def prompt_of(conversation: Conversation) -> Conversation:
    """A conversation up to its last answer; plain text up to its first half."""
    if conversation[0].role == "text":
        return conversation
    last = max(i for i, message in enumerate(conversation) if message.role == "assistant")
    return conversation[:last]


@contextmanager
def at_rest(net: Any) -> Iterator[None]:
    """Inference for a while: no dropout, no checkpointing, attention over padded batches.

    4-bit layers stay in train mode: some CPUs repack their weights otherwise, and training would go on differently.
    """
    from bitsandbytes.nn import Linear4bit

    base: Any = getattr(net, "get_base_model", lambda: net)()
    attention = base.config._attn_implementation
    for module in net.modules():
        if not isinstance(module, Linear4bit):
            module.training = False
    base.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        base.set_attn_implementation(attention)
        net.train()


@torch.no_grad()
def answer(
    net: Any, tokenizer: Any, prompts: Sequence[Conversation], *, max_new_tokens: int, batch: int = 16
) -> list[Answer]:
    """Greedy answers, in the order of the prompts.

    Args:
        net: The model, adapter included.
        tokenizer: Its tokenizer.
        prompts: Conversations that end where an answer is due.
        max_new_tokens: Longest answer.
        batch: Prompts answered at once; sorted by length first, so that little is padded.
    """
    rendered = [render(tokenizer, prompt, for_generation=True).tokens for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lambda i: len(rendered[i]))
    answers: dict[int, Answer] = {}
    with at_rest(net):
        for first in range(0, len(by_length), batch):
            chosen = by_length[first : first + batch]
            outputs = _generate(net, tokenizer, [rendered[i] for i in chosen], max_new_tokens)
            answers |= dict(zip(chosen, outputs, strict=True))
    return [answers[i] for i in range(len(prompts))]


def _generate(net: Any, tokenizer: Any, prompts: list[list[int]], max_new_tokens: int) -> list[Answer]:
    from transformers import GenerationConfig

    ends = end_tokens(tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    width = max(map(len, prompts))
    ids_BT = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=net.device)
    mask_BT = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=net.device)
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=pad, use_cache=True
    )
    out_BT = net.generate(input_ids=ids_BT, attention_mask=mask_BT, generation_config=settings)
    return [_read(tokenizer, row[width:].tolist(), set(ends)) for row in out_BT]


def _read(tokenizer: Any, tokens: list[int], ends: set[int]) -> Answer:
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    said = tokens[:stop]
    return Answer(tokenizer.decode(said, skip_special_tokens=True).strip(), len(said), stop is not None)
