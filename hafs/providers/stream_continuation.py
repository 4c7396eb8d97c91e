"""Where a broken stream and the answer that goes on meet: nothing twice, nothing hidden."""

from typing import Literal

GO_ON = (
    "Your answer above was interrupted. Continue it exactly where it stops, in the middle of a word if need be. "
    "Do not repeat any of it and do not comment on it."
)
ANEW = "\n\n[the answer was interrupted and begins anew]\n\n"
SHORTEST_OVERLAP, LONGEST_OVERLAP = 8, 200
"""Characters: fewer that agree are chance, more are looked for in a repeated beginning."""


class Seam:
    """Joins the text of a new stream to text that was already given.

    Args:
        given: What the reader has.
        how: `continue`: the new stream was asked to go on; `restart`: it was asked the question again.
    """

    def __init__(self, given: str, how: Literal["continue", "restart"]) -> None:
        self.given, self.how = given, how
        self.ended: Literal["complete", "continued", "restarted"] = "complete" if not given else "continued"
        self._held, self._joined = "", not given

    def feed(self, text: str) -> str:
        """The part of new text that can be given on now."""
        if self._joined:
            return text
        self._held += text
        if self.given.startswith(self._held):  # so far it tells the beginning again
            return ""
        if self._held.startswith(self.given):
            return self._join(self._held[len(self.given) :])
        if self.how == "restart":
            self.ended = "restarted"
            return self._join(ANEW + self._held)
        tail = self.given[-LONGEST_OVERLAP:]
        if len(self._held) < len(tail) and self._held in tail:  # so far it repeats the last words
            return ""
        return self._join(self._held[self._overlap() :])

    def end(self) -> str:
        """What is still held when the new stream is over."""
        if self._joined:
            return ""
        if self.given.startswith(self._held) and len(self._held) >= SHORTEST_OVERLAP:
            return self._join("")
        return self._join(self._held)

    def _join(self, text: str) -> str:
        self._joined = True
        return text

    def _overlap(self) -> int:
        """Characters at the beginning of the new text that the given text ends with."""
        longest = min(len(self.given), len(self._held), LONGEST_OVERLAP)
        for length in range(longest, SHORTEST_OVERLAP - 1, -1):
            if self.given.endswith(self._held[:length]):
                return length
        return 0
