"""Forgetting: the loss on a small set of everyday questions that no expert is trained on."""

from pathlib import Path

import orjson

from hafs.chat import Conversation
from hafs.core.errors import DataError
from hafs.data.decode import Reject
from hafs.data.formats import parse
from hafs.evaluation.metrics import Metric, Parts, Said

NAME = "forgetting"


class Forgetting(Metric):
    """Loss of the general answers, in nats per token."""

    better = "lower"
    unit = "nats"

    def parts(self, said: Said) -> Parts | None:
        """Nats and the number of supervised tokens."""
        return Parts(said.nats or 0.0, said.supervised) if said.supervised else None


def general_set(path: str | None) -> list[Conversation]:
    """The general set; empty where there is no path.

    Args:
        path: A JSONL file in any of the formats of training data.

    Raises:
        DataError: The file cannot be read, or a row cannot be used.
    """
    if path is None:
        return []
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        fact = f"general={path!r} cannot be read: {error.strerror}"
        raise DataError(fact, hint="general=null leaves it out") from error
    found = [_read(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise DataError(f"general={path!r} has no rows", hint="general=null leaves it out")
    return found


def _read(path: str, number: int, line: bytes) -> Conversation:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} line {number} is not valid JSON: {error}") from error
    parsed = parse(row) if isinstance(row, dict) else Reject("not_an_object", "it is not a JSON object")
    if isinstance(parsed, Reject):
        raise DataError(f"{path} line {number}: {parsed.message}", hint="a row has instruction, input and output")
    return parsed.conversation
