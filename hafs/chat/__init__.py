r"""The one text path: a conversation becomes token ids, and the answers in it are marked as supervised.

Training, validation, generation, the local provider and every export call `render`, so that the ids a model was trained
on and the ids it is served are the same ids. How a conversation is cut:

    <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n  |  Hello!<|im_end|>  |  \n
    prompt: exactly what `for_generation` gives              |  supervised        |  tail

Each segment is tokenized by itself, and within a segment each piece between two control tokens of the template. What
people wrote is tokenized without control tokens: a user who types `<|im_end|>` gets its letters, never the token.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import xxhash

from hafs.chat.messages import TEXT_ROLE, Call, Conversation, Message, Rendered, learned_part
from hafs.chat.renderer import Renderer
from hafs.chat.template import control_tokens

__all__ = [
    "TEXT_ROLE",
    "Call",
    "Conversation",
    "Message",
    "Rendered",
    "encode_plain",
    "end_tokens",
    "learned_part",
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
        T token ids and T flags; supervised are the answers that are learned and what ends each, nothing else. An answer
        that the template writes differently once the talk goes on is supervised only where it is the last: `unfold`.

    Raises:
        HafsError: The template refuses the conversation, leaves a turn out, or ends answers with no control token.
    """
    return _renderer(tokenizer).render([conversation], for_generation)[0]


def render_many(tokenizer: Any, conversations: Sequence[Conversation]) -> list[Rendered]:
    """`render` for many conversations at once, with the same results and the same errors, several times faster."""
    return _renderer(tokenizer).render(conversations, False)


def unfold(tokenizer: Any, conversation: Conversation) -> list[Conversation]:
    """The samples of a conversation, in order: together they learn each of its answers once.

    Most templates make one sample of a conversation. Where a template writes an answer differently once the talk goes
    on, that answer is the last turn of a sample of its own, as it is when a model is asked for it.

    Raises:
        HafsError: As `render` does.
    """
    return _renderer(tokenizer).unfold(conversation)


def shows_reasoning(tokenizer: Any) -> bool:
    """Whether what was thought before an answer is part of what is learned."""
    renderer = _renderer(tokenizer)
    return renderer.template.thinks or renderer.turns.opens_thinking


def end_tokens(tokenizer: Any) -> list[int]:
    """Token ids that end an answer in generation: the template's own first, then the tokenizer's end of sequence."""
    renderer = _renderer(tokenizer)
    found = [*(renderer.template.control[token] for token in renderer.turns.ends), tokenizer.eos_token_id]
    return [token for token in dict.fromkeys(found) if token is not None]


def encode_plain(tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """Encodings (`.ids`, `.offsets` in characters) of texts in which no control token is recognized."""
    return _renderer(tokenizer).backend_encode(texts, plain=True, offsets=True)


def template_fingerprint(tokenizer: Any) -> str:
    """Hash of all that decides ids: the template, the vocabulary's size, the control tokens and a probe's ids."""
    parts = (tokenizer.chat_template, len(tokenizer), sorted(control_tokens(tokenizer).items()),
             tokenizer.eos_token_id, tokenizer(_PROBE_TEXT, add_special_tokens=False)["input_ids"])  # fmt: skip
    return xxhash.xxh3_128_hexdigest(repr(parts).encode())


_RENDERERS: "weakref.WeakKeyDictionary[Any, Renderer]" = weakref.WeakKeyDictionary()


def _renderer(tokenizer: Any) -> Renderer:
    known = _RENDERERS.get(tokenizer)
    if known is None or known.source != (tokenizer.chat_template, len(tokenizer)):
        known = _RENDERERS[tokenizer] = Renderer(tokenizer)
    return known
