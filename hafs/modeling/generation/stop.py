"""Stop sequences: an answer ends before the first of them, and no part of one is passed on."""

from collections.abc import Sequence


class StopWords:
    """Watches a growing text.

    Args:
        sequences: Texts that end it; empty ones are ignored.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = [each for each in sequences if each]
        self.found = False
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of new text that can be passed on; sets `found` when a stop sequence is complete."""
        if self.found:
            return ""
        self._held += text
        places = [at for word in self.sequences if (at := self._held.find(word)) >= 0]
        if places:
            self.found = True
            return self._give(min(places))
        return self._give(len(self._held) - self._doubtful())

    def end(self) -> str:
        """The text that is still held back at the end."""
        return "" if self.found else self._give(len(self._held))

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        return given

    def _doubtful(self) -> int:
        """Characters at the end that may begin a stop sequence."""
        longest = max((len(word) for word in self.sequences), default=0)
        for count in range(min(longest - 1, len(self._held)), 0, -1):
            tail = self._held[-count:]
            if any(word.startswith(tail) for word in self.sequences):
                return count
        return 0
