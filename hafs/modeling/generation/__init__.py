"""Answers of a model to prompts, many concurrently."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from hafs.chat import Conversation, end_tokens, render
from hafs.modeling import out_of_memory
from hafs.modeling.generation.decoder import Decoder, Finish, Generation, Token, active_adapter, decode
from hafs.modeling.generation.sampling import Sampling

__all__ = [
    "Answer",
    "Decoder",
    "Generation",
    "Pieces",
    "Sampling",
    "Token",
    "active_adapter",
    "answer",
    "decode",
    "for_inference",
    "prompt_of",
    "set_for_inference",
]


class Answer(NamedTuple):
    """A generated answer."""

    text: str
    tokens: int
    """Tokens of the answer, its end token not counted."""
    ended: bool
    """Whether it ended with an end token; else it was cut at the limit."""

    @property
    def finish_reason(self) -> Finish:
        """Why it ended, as providers report it."""
        return "stop" if self.ended else "length"


def prompt_of(conversation: Conversation) -> Conversation:
    """A conversation up to its last answer; plain text up to its first half."""
    if conversation[0].role == "text":
        return conversation
    last = max(i for i, message in enumerate(conversation) if message.role == "assistant")
    return conversation[:last]


@contextmanager
def for_inference(net: Any) -> Iterator[None]:
    """Inference inside the block: no dropout, no checkpointing.

    4-bit layers stay in train mode: some CPUs repack their weights otherwise, and later training steps would differ.
    """
    set_for_inference(net)
    try:
        yield
    finally:
        net.train()


def set_for_inference(net: Any) -> None:
    """Inference from now on: no dropout, no checkpointing, and no repacked weights."""
    from bitsandbytes.nn import Linear4bit

    for module in net.modules():
        module.training = isinstance(module, Linear4bit)  # which repacks its weights in eval mode


def answer(
    net: Any,
    tokenizer: Any,
    prompts: Sequence[Conversation],
    *,
    max_new_tokens: int,
    batch: int = 16,
    adapters: Sequence[str | None] | None = None,
    sampling: Callable[[int], Sampling] | None = None,
    on_token: Callable[[int, str], None] | None = None,
) -> list[Answer]:
    """Answers in the order of the prompts, `batch` of them generated concurrently.

    Args:
        net: The model, its adapters included.
        tokenizer: Its tokenizer.
        prompts: Conversations that end where an answer is due.
        max_new_tokens: Longest answer.
        batch: Prompts answered concurrently; when one ends, the next begins. Halved when memory runs out.
        adapters: For each prompt an adapter of the net, or None for the base alone; not given: the net's active one.
        sampling: The rule by which prompt `i` draws its tokens; not given: always the most likely.
        on_token: Called with a prompt's index and each new piece of its answer's text.
    """
    while True:
        try:
            return _answers(net, tokenizer, prompts, max_new_tokens, batch, adapters, sampling, on_token)
        except Exception as error:
            if batch == 1 or on_token or not out_of_memory.is_out_of_memory(error):
                raise
        batch //= 2  # outside the handler: the error keeps the failed tensors alive
        out_of_memory.free_cache()


def _answers(
    net: Any,
    tokenizer: Any,
    prompts: Sequence[Conversation],
    max_new_tokens: int,
    batch: int,
    adapters: Sequence[str | None] | None,
    sampling: Callable[[int], Sampling] | None,
    on_token: Callable[[int, str], None] | None,
) -> list[Answer]:
    names = [active_adapter(net)] * len(prompts) if adapters is None else adapters
    rows = [
        Generation(render(tokenizer, prompt, for_generation=True).tokens, adapter=name, limit=max_new_tokens,
            sampling=sampling(i) if sampling else None)
        for i, (prompt, name) in enumerate(zip(prompts, names, strict=True))
    ]  # fmt: skip
    longest_first = sorted(rows, key=lambda row: -len(row.prompt))
    index = {id(row): i for i, row in enumerate(rows)}
    pieces = [Pieces(tokenizer) for _ in rows] if on_token else []
    with for_inference(net):
        for row, token in decode(net, longest_first, ends=end_tokens(tokenizer), concurrency=batch):
            if on_token and (piece := pieces[index[id(row)]].add(token)):
                on_token(index[id(row)], piece)
    return [_read(tokenizer, row) for row in rows]


class Pieces:
    """An answer's text as it grows: pieces that end between characters, and together are the text of all tokens."""

    def __init__(self, tokenizer: Any, *, control_tokens: bool = False) -> None:
        self._tokenizer, self._skip = tokenizer, not control_tokens
        self._tokens: list[int] = []
        self._told = 0

    def add(self, token: int | None) -> str:
        """The new text after a token; None: the answer has ended, and the rest is returned."""
        if token is not None:
            self._tokens.append(token)
        text = self._tokenizer.decode(self._tokens, skip_special_tokens=self._skip)
        if token is not None and text.endswith("�"):
            return ""  # in the middle of a character
        piece, self._told = text[self._told :], len(text)
        return piece


def _read(tokenizer: Any, row: Generation) -> Answer:
    return Answer(tokenizer.decode(row.said, skip_special_tokens=True).strip(), len(row.said), row.finish == "stop")
