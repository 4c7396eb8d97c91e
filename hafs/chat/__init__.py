r"""The only path from text to tokens: it renders a conversation to token ids and marks the supervised answers.

Training, validation, generation, the local provider and every export call `render`. Training and serving therefore see
the same token ids. A conversation is cut like this:

    <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n  |  Hello!<|im_end|>  |  \n
    prompt: exactly what `for_generation` gives              |  supervised        |  tail

Each segment is tokenized separately, and so is each piece between two control tokens of the template. Message content
is tokenized without control tokens: if a user types `<|im_end|>`, the model gets its letters and never the token.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import xxhash

from hafs.chat.call_frame import CallFrame
from hafs.chat.call_parser import CallSyntax, ParsedAnswer, parse
from hafs.chat.messages import TEXT_ROLE, Call, Conversation, Message, Rendered, learned_part
from hafs.chat.renderer import Renderer
from hafs.chat.template import control_tokens

__all__ = [
    "TEXT_ROLE",
    "Call",
    "CallFrame",
    "CallSyntax",
    "Conversation",
    "Message",
    "ParsedAnswer",
    "Rendered",
    "call_frame",
    "call_syntax",
    "count_tokens",
    "encode_plain",
    "end_tokens",
    "learned_part",
    "parse",
    "render",
    "render_many",
    "shows_reasoning",
    "template_fingerprint",
    "unfold",
]

_PROBE_TEXT = "LDA #$0F ; naïve 你好 \n\t12345 don't"


def render(tokenizer: Any, conversation: Conversation, *, for_generation: bool = False) -> Rendered:
    """Tokenize one conversation with the tokenizer's own chat template.

    Args:
        tokenizer: A transformers tokenizer.
        conversation: Messages in order; a single message of role "text" is plain text and takes no template.
        for_generation: Ask for the next answer: the prompt ends where an answer begins.

    Returns:
        T token ids and T flags; only the learned answers and their end tokens are supervised. An answer that the
        template rewrites once the conversation continues is supervised only as the last turn; see `unfold`.

    Raises:
        HafsError: The template rejects the conversation, omits a turn, or ends answers without a control token.
    """
    return _renderer(tokenizer).render([conversation], for_generation)[0]


def render_many(tokenizer: Any, conversations: Sequence[Conversation]) -> list[Rendered]:
    """Render many conversations in one batch: same results and errors as `render`, several times faster."""
    return _renderer(tokenizer).render(conversations, False)


def unfold(tokenizer: Any, conversation: Conversation) -> list[Conversation]:
    """The training samples of a conversation, in order; together they supervise each answer exactly once.

    Most templates need one sample per conversation. If a template rewrites an answer once the conversation continues,
    that answer gets its own sample as the last turn, which is how the model sees it in serving.

    Raises:
        HafsError: As `render` does.
    """
    return _renderer(tokenizer).unfold(conversation)


def call_syntax(tokenizer: Any) -> CallSyntax | None:
    """The syntax in which the model writes tool calls; None if hafs cannot parse it."""
    return _renderer(tokenizer).call_syntax


def call_frame(tokenizer: Any) -> CallFrame | None:
    """The literal text around the model's tool calls; None if a grammar cannot follow them."""
    return _renderer(tokenizer).call_frame


def shows_reasoning(tokenizer: Any) -> bool:
    """Whether the chat template renders reasoning, so that it can be trained on."""
    renderer = _renderer(tokenizer)
    return renderer.template.has_reasoning_field or renderer.turns.opens_thinking


def end_tokens(tokenizer: Any) -> list[int]:
    """Token ids that end an answer in generation: the template's own first, then the tokenizer's end of sequence."""
    renderer = _renderer(tokenizer)
    found = [*(renderer.template.control[token] for token in renderer.turns.ends), tokenizer.eos_token_id]
    return [token for token in dict.fromkeys(found) if token is not None]


def encode_plain(tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Encode texts without recognizing control tokens (`.ids`, `.offsets` in characters)."""
    return _renderer(tokenizer).backend_encode(texts, plain=True, offsets=True)


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text, control tokens not recognized."""
    return [len(each.ids) for each in _renderer(tokenizer).backend_encode(texts, plain=True)] if texts else []


def template_fingerprint(tokenizer: Any) -> str:
    """Hash of everything that determines token ids: template, vocabulary size, control tokens and a probe's ids."""
    parts = (tokenizer.chat_template, len(tokenizer), sorted(control_tokens(tokenizer).items()),
             tokenizer.eos_token_id, tokenizer(_PROBE_TEXT, add_special_tokens=False)["input_ids"])  # fmt: skip
    return xxhash.xxh3_128_hexdigest(repr(parts).encode())


_RENDERERS: "weakref.WeakKeyDictionary[Any, Renderer]" = weakref.WeakKeyDictionary()


def _renderer(tokenizer: Any) -> Renderer:
    known = _RENDERERS.get(tokenizer)
    if known is None or known.source != (tokenizer.chat_template, len(tokenizer)):
        known = _RENDERERS[tokenizer] = Renderer(tokenizer)
    return known
