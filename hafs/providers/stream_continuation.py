"""Where a broken stream and the answer that goes on meet: nothing twice, nothing lost, nothing hidden.

Where a text that goes on begins cannot be found by comparing it: code and tables repeat their lines. So whoever is asked
to go on is asked to quote the last words first (`go_on`). One that does is believed; one that does not is asked the whole
question again, and the reader is told where the answer begins anew, unless it says what the reader has already.
"""

import re
from os.path import commonprefix
from typing import Literal

from hafs.providers.provider_error import Refused

ANEW = "\n\n[the answer was interrupted and begins anew]\n\n"
SHORTEST_QUOTE, LONGEST_QUOTE = 24, 120
"""Characters of the last words that are quoted: whole lines from the shortest on, never more than the longest."""
_OPEN, _CLOSE = "<last>", "</last>"
_FENCE = re.compile(r"^ {0,3}```", re.M)


def go_on(given: str) -> str:
    """What is asked of whoever goes on, after the question and the text that was given, without the space at its end."""
    return (
        "Your answer above was interrupted. Continue it exactly where it stops, in the middle of a word if need be. Begin "
        f"your reply with its last words between tags, exactly so: {_OPEN}{_quote(given)}{_CLOSE} and write what comes next "
        "right behind the closing tag. Repeat nothing else of it and do not comment on it."
    )


def _quote(given: str) -> str:
    """The last words: the last lines where they are short, else the end of the last one, from a word on."""
    text = given.rstrip()
    if len(text) <= SHORTEST_QUOTE:
        return text
    line = text.rfind("\n", -LONGEST_QUOTE, -SHORTEST_QUOTE) + 1
    if line:
        return text[line:].lstrip()
    word = text.find(" ", -LONGEST_QUOTE // 2, -SHORTEST_QUOTE) + 1
    return text[word or -SHORTEST_QUOTE :].lstrip()


class Seam:
    """Joins the text of a new stream to text that was already given.

    Args:
        given: What the reader has.
        how: `continue`: the new stream was asked to go on, by `go_on`; `restart`: it was asked the question again.
        sealed: Whether the reader cannot be told that an answer begins anew, as inside a JSON document.
    """

    def __init__(self, given: str, how: Literal["continue", "restart"], *, sealed: bool = False) -> None:
        self.given, self.how, self.sealed = given, how, sealed
        self.ended: Literal["complete", "continued", "restarted"] = "complete" if not given else "continued"
        self.answer = given
        """The text of the answer so far; of one that began anew, without what came before."""
        self._held, self._joined = "", not given
        self._wanted = f"{_OPEN}{_quote(given)}{_CLOSE}"
        self._space = given[len(given.rstrip()) :]
        """At the end of what was given, and not of what the new stream was told."""

    def feed(self, text: str) -> str:
        """The part of new text that can be given on now.

        Raises:
            Refused: `unjoined`: it does not begin as it was asked to.
        """
        if self._joined:
            self.answer += text
            return text
        self._held += text
        return self._behind_the_quote() if self.how == "continue" else self._behind_the_same()

    def end(self) -> str:
        """What is still held when the new stream is over.

        Raises:
            Refused: `unjoined`: it did not begin as it was asked to.
        """
        if self._joined:
            return ""
        if self.how == "restart":
            return "" if self._held.rstrip() == self.given.rstrip() else self._anew()
        if (rest := self._rest()) is None:
            raise _unjoined()
        return self._join(rest)

    def _behind_the_quote(self) -> str:
        rest = self._rest()
        if rest is None and not self._wanted.startswith(self._held.lstrip()):
            raise _unjoined()
        return self._join(rest) if rest and rest.strip() else ""  # how much of a space is new shows at its end

    def _rest(self) -> str | None:
        """The text behind the quote, without the space that the reader has; None: no quote yet."""
        held = self._held.lstrip()
        if not held.startswith(self._wanted):
            return None
        rest = held[len(self._wanted) :]
        return rest[len(commonprefix([self._space, rest])) :]

    def _behind_the_same(self) -> str:
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
        return ("\n```" if inside_code else "") + ANEW + self._held

    def _join(self, text: str) -> str:
        self._joined = True
        self.answer += text
        return text


def _unjoined() -> Refused:
    return Refused("unjoined", "what it says does not join what was given")
