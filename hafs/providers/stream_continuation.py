"""Joins a broken answer and the stream that continues it, without repeated, lost or hidden text.

Comparing texts cannot show where a continuation begins: code and tables repeat their lines. So the next provider is
asked to quote the last words first (`go_on`). If it does, its text is joined after the quote. If it does not, it is
asked the question again, and a notice marks where the answer starts again, unless it repeats the text that the reader
already has.
"""

import re
from typing import Literal

from hafs.providers.provider_error import ProviderError

RESTART_NOTICE = "\n\n[the answer was interrupted and starts again]\n\n"
SHORTEST_QUOTE, LONGEST_QUOTE = 24, 120
"""Limits of the quote in characters: complete last lines of at least the first; never more than the second."""
_OPEN, _CLOSE = "<last>", "</last>"
_FENCE = re.compile(r"^ {0,3}```", re.M)


def go_on(given: str) -> str:
    """The request to continue; it follows the question and the given text without its trailing whitespace."""
    return (
        "Your answer above was interrupted. Continue it exactly where it stops, in the middle of a word if need be. "
        "Begin your reply with its last words between tags, exactly like this: "
        f"{_OPEN}{_quote(given)}{_CLOSE} and write what comes next directly after the closing tag. "
        "Do not repeat anything else and do not comment on it."
    )


def _quote(given: str) -> str:
    """The last lines if they are short, else the end of the last line, from a word boundary."""
    text = given.rstrip()
    if len(text) <= SHORTEST_QUOTE:
        return text
    line = text.rfind("\n", -LONGEST_QUOTE, -SHORTEST_QUOTE) + 1
    if line:
        return text[line:].lstrip()
    word = text.find(" ", -LONGEST_QUOTE // 2, -SHORTEST_QUOTE) + 1
    return text[word or -SHORTEST_QUOTE :].lstrip()


class StreamContinuation:
    """Joins the text of a new stream to the text that the reader has.

    Args:
        given: The text that the reader already has.
        how: `continue`: the new stream was asked to continue, by `go_on`; `restart`: it was asked the question again.
        sealed: A notice that the answer starts again is not possible, for example inside a JSON document.
    """

    def __init__(self, given: str, how: Literal["continue", "restart"], *, sealed: bool = False) -> None:
        self.given, self.how, self.sealed = given, how, sealed
        self.ended: Literal["complete", "continued", "restarted"] = "complete" if not given else "continued"
        self.answer = given
        """The answer so far; after a restart, without the text before it."""
        self._held, self._joined = "", not given
        self._wanted = f"{_OPEN}{_quote(given)}{_CLOSE}"
        self._space = given[len(given.rstrip()) :]
        """Trailing whitespace of the given text; the request to continue did not contain it."""

    def feed(self, text: str) -> str:
        """The part of new text that can be passed on now.

        Raises:
            ProviderError: `unjoined`: the new stream does not begin as it was asked to.
        """
        if self._joined:
            self.answer += text
            return text
        self._held += text
        return self._after_quote() if self.how == "continue" else self._after_repetition()

    def end(self) -> str:
        """The text that is still held back when the new stream ends.

        Raises:
            ProviderError: `unjoined`: the new stream did not begin as it was asked to.
        """
        if self._joined:
            return ""
        if self.how == "restart":
            return "" if self._held.rstrip() == self.given.rstrip() else self._anew()
        if (rest := self._rest()) is None:
            raise _unjoined()
        return self._join(rest)

    def _after_quote(self) -> str:
        rest = self._rest()
        if rest is None and not self._wanted.startswith(self._held.lstrip()):
            raise _unjoined()
        return self._join(rest) if rest and rest.strip() else ""  # the end of leading whitespace must be seen first

    def _rest(self) -> str | None:
        """The text after the quote, without the whitespace that the reader has; None: the quote is not complete."""
        held = self._held.lstrip()
        if not held.startswith(self._wanted):
            return None
        rest = held[len(self._wanted) :]
        same = 0
        while same < min(len(rest), len(self._space)) and rest[same] == self._space[same]:
            same += 1
        return rest[same:]

    def _after_repetition(self) -> str:
        if self.given.startswith(self._held):
            return ""
        if self._held.startswith(self.given):
            return self._join(self._held[len(self.given) :])
        return self._anew()

    def _anew(self) -> str:
        if self.sealed:
            raise _unjoined()
        self.ended, self._joined, self.answer = "restarted", True, self._held
        inside_code = len(_FENCE.findall(self.given)) % 2
        return ("\n```" if inside_code else "") + RESTART_NOTICE + self._held

    def _join(self, text: str) -> str:
        self._joined = True
        self.answer += text
        return text


def _unjoined() -> ProviderError:
    return ProviderError("unjoined", "the new stream does not join the text that was given")
