"""One request in the engine: its tokens, their text, and the callback that receives it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hafs.core.errors import HafsError
from hafs.modeling.generation import Generation, Pieces, Sampling
from hafs.modeling.generation.grammar import Grammar
from hafs.modeling.generation.stop import StopWords
from hafs.providers.provider_error import ProviderError

log = logging.getLogger(__name__)


class Delta(NamedTuple):
    """A piece of an answer, as passed to the caller."""

    text: str
    tokens: int
    """Tokens of the answer so far."""
    finish: str | None
    """`stop` or `length` in the last piece."""


class Job:
    """A request in the engine.

    Args:
        prompt: Token ids.
        adapter: A folder; None: the base alone.
        limit: Longest answer, in tokens.
        sampling: How its tokens are sampled.
        stop: Texts that end it.
        deadline: On `time.monotonic`; None: no deadline.
        tell: Called from the engine's thread with every `Delta`, or with the exception that ended it.
        control_tokens: Whether the text contains control tokens, which tool calls may consist of.
        grammar: Constrains the answer; None: no constraint.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        adapter: Path | None,
        limit: int,
        sampling: Sampling,
        stop: Sequence[str],
        deadline: float | None,
        tell: Callable[[Delta | Exception], None],
        control_tokens: bool = False,
        grammar: Grammar | None = None,
    ) -> None:
        self.adapter, self.deadline, self.tell = adapter, deadline, tell
        self.admit: Callable[[], None] = lambda: None  # called when the request no longer waits for others
        self.row = Generation(prompt, adapter=None, limit=limit, sampling=sampling, grammar=grammar)
        self.stop = StopWords(stop)
        self.control_tokens = control_tokens
        self.pieces: Pieces | None = None
        self.over = False

    def hear(self, token: int | None, tokenizer: Any) -> None:
        """Pass a token on as text; a stop sequence or an error ends the answer."""
        if self.over:
            return
        try:
            self._hear(token, tokenizer)
        except Exception as error:
            self.fail(error)

    def _hear(self, token: int | None, tokenizer: Any) -> None:
        self.pieces = self.pieces or Pieces(tokenizer, control_tokens=self.control_tokens)
        text = self.pieces.add(token)
        if self.row.finish == "length":
            text += self.pieces.add(None)
        text = self.stop.feed(text)
        if self.stop.found:
            self.row.finish = "stop"
        elif self.row.finish:
            text += self.stop.end()
        if self.row.finish:
            self.over = True
        if text or self.row.finish:
            self.tell(Delta(text, len(self.row.said), self.row.finish))

    def fail(self, error: Exception) -> None:
        """End the request with an error, wrapped as a `ProviderError` where needed. Raises nothing."""
        if self.over:
            return
        self.over = True
        try:
            self.tell(error if isinstance(error, HafsError | ProviderError) else ProviderError("failed", repr(error)))
        except Exception as deaf:
            log.warning("a request failed with %r; its caller could not be notified: %r", error, deaf)
