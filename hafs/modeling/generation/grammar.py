"""Constrains an answer by a grammar of llguidance: before each token, those that cannot follow are excluded.

Legend: `V` vocabulary.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hafs.config.extras import how_to_install
from hafs.core.errors import HafsError

_TOKENIZERS: "weakref.WeakKeyDictionary[Any, dict[tuple[int, ...], Any]]" = weakref.WeakKeyDictionary()


class Grammar:
    """A grammar and how far an answer has followed it.

    Args:
        tokenizer: The model's tokenizer.
        text: The grammar, in llguidance's Lark dialect.
        ends: Token ids that end an answer; allowed where the grammar is complete.

    Raises:
        HafsError: llguidance is not installed, or does not accept the grammar.
    """

    def __init__(self, tokenizer: Any, text: str, ends: Sequence[int]) -> None:
        library = _library()
        self._ends = list(ends)
        self._tokenizer = _wrapped(tokenizer, tuple(ends))
        self._matcher = library.LLMatcher(self._tokenizer, library.LLMatcher.grammar_from_lark(text))
        if self._matcher.is_error():
            raise HafsError(f"the grammar is not usable: {_first_line(self._matcher.get_error())}")
        self.error = ""
        """Why the grammar could not be followed to its end; empty if it could."""

    def restrict(self, logits_V: torch.Tensor) -> None:
        """Set the scores of tokens that cannot follow to minus infinity, in place."""
        bits = np.zeros((self._tokenizer.vocab_size + 31) // 32, np.int32)
        if not self._matcher.is_error():
            self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        allowed = np.zeros(len(logits_V), bool)
        if self._matcher.is_error():
            self.error = _first_line(self._matcher.get_error())
            allowed[self._ends] = True
        else:
            flags = np.unpackbits(bits.view(np.uint8), bitorder="little")[: len(logits_V)]
            allowed[: len(flags)] = flags
        logits_V.masked_fill_(torch.from_numpy(~allowed).to(logits_V.device), float("-inf"))

    def take(self, token: int) -> None:
        """Add the chosen token."""
        self._matcher.consume_token(token)


def _library() -> Any:
    try:
        import llguidance
    except ModuleNotFoundError as error:
        fact = "an answer in JSON or a required tool call needs llguidance, which is not installed"
        raise HafsError(fact, hint=how_to_install("llguidance")) from error
    return llguidance


def _wrapped(tokenizer: Any, ends: tuple[int, ...]) -> Any:
    """The tokenizer for llguidance, made once; that takes about half a second."""
    known = _TOKENIZERS.setdefault(tokenizer, {})
    if ends not in known:
        from llguidance.hf import from_tokenizer

        known[ends] = from_tokenizer(tokenizer, eos_token=list(ends))
    return known[ends]


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "unknown error")
