"""Stop sequences: an answer ends before the first of them, and no part of one is ever given out."""

from collections.abc import Sequence


class StopWords:
    """Watches a growing text.

    Args:
        words: What ends it; empty words are none.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.sequences = [word for word in words if word]
        self.found = False
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of new text that can be given on; sets `found` when a stop word has come."""
        if self.found:
            return ""
        self._held += text
        places = [at for word in self.sequences if (at := self._held.find(word)) >= 0]
        if places:
            self.found = True
            return self._give(min(places))
        return self._give(len(self._held) - self._doubtful())

    def end(self) -> str:
        """What is still held when the text is over."""
        return "" if self.found else self._give(len(self._held))

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        return given

    def _doubtful(self) -> int:
        """Characters at the end that a stop word may begin with."""
        longest = max((len(word) for word in self.sequences), default=0)
        for count in range(min(longest - 1, len(self._held)), 0, -1):
            tail = self._held[-count:]
            if any(word.startswith(tail) for word in self.sequences):
                return count
        return 0
