"""Recognizes a model that repeats itself, so that its stream is stopped."""

import re

STOPPED = "\n\n[the answer repeated itself and was stopped]"
PROSE_REPEATS, OTHER_REPEATS = 8, 100
"""Repetitions in a row that stop a stream: of complete sentences, and of any other text, because tables repeat rows."""
SHORTEST_OTHER = 1500
"""Characters that repetitions other than of sentences have at least."""
_PROBE, _LONGEST_UNIT, _STEP = 32, 400, 64
_SENTENCE = re.compile(r"\w+(?:[,;:]?\s+\w[\w'-]*){3,}\s*[.!?]")


class Repetition:
    """Watches the text of one stream."""

    def __init__(self) -> None:
        self._text, self._looked = "", 0

    def feed(self, text: str) -> bool:
        """Add new text; returns whether the stream repeats itself."""
        self._text = (self._text + text)[-_LONGEST_UNIT * OTHER_REPEATS :]
        self._looked += len(text)
        if self._looked < _STEP or len(self._text) < 2 * _PROBE:
            return False
        self._looked = 0
        return repeats(self._text)


def repeats(text: str) -> bool:
    """Whether a text ends with a unit that is repeated too often."""
    end = len(text) - _PROBE
    before = text.rfind(text[-_PROBE:], max(0, end - _LONGEST_UNIT), len(text) - 1)
    if before < 0:
        return False
    unit = text[before - end :]
    if _SENTENCE.search(unit + unit):
        return text.endswith(unit * PROSE_REPEATS)
    often = max(OTHER_REPEATS, -(-SHORTEST_OTHER // len(unit)))
    return text.endswith(unit * often)
