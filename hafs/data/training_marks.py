"""Marks in rows that include or exclude answers from training, in the formats of several trainers."""

from collections.abc import Mapping
from typing import Any

from hafs.data.decode import Reject, UnusableRow

TURN_MARKS = ("weight", "train", "loss", "loss_scale")
"""Marks of one turn: OpenAI's `weight` (0 or 1), axolotl's `train`, ms-swift's `loss` and `loss_scale`."""
_PARTS = ("train_detail", "training_detail")  # axolotl: marks for parts of an answer
_ROW_MARKS = ("label", "kto_tag")  # marks of a row in KTO data: TRL and ms-swift, LLaMA-Factory


def is_trained_on(turn: Mapping[str, Any], where: str) -> bool:
    """Whether an answer is trained on; it is, unless a mark excludes it.

    Args:
        turn: The answer's object in the row.
        where: Its name in messages.

    Raises:
        UnusableRow: A fractional weight, a mark of another type, or marks for parts of the answer.
    """
    for name in _PARTS:
        if turn.get(name):
            raise UnusableRow("unsupported_field", f"{where} has {name!r}; hafs trains on whole answers only")
    said = {name: turn[name] for name in TURN_MARKS if turn.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, bool | int | float):
            raise UnusableRow("wrong_type", f"{where} has {name!r} of type {type(value).__name__}, expected 0 or 1")
        if value not in (0, 1):
            fact = f"{where} has {name!r} {value:g}, expected 0 or 1"
            raise UnusableRow("unsupported_field", f"{fact}; hafs trains on whole answers only")
    return all(said.values())


def reject_unwanted(row: Mapping[str, Any], *, pair: bool) -> Reject | None:
    """Why a row is excluded from training by its own marks; None if it is not.

    Args:
        row: The row.
        pair: Whether the row is a prompt with a completion; its label 0 then means false, as in KTO data.
    """
    for name in _ROW_MARKS:
        value = row.get(name)
        if value is False or (pair and value == 0 and isinstance(value, int)):
            return Reject("unwanted_answer", f"{name!r} is {str(value).lower()}: the answer is excluded from training")
    for name in TURN_MARKS:
        value = row.get(name)
        if value is False or (name == "weight" and isinstance(value, int | float) and value == 0):
            return Reject(
                "unwanted_answer", f"{name!r} of the row is {str(value).lower()}: the row is excluded from training"
            )
    return None


def row_mark_keys(row: Mapping[str, Any], *, pair: bool) -> set[str]:
    """Keys of a row whose marks include it in training."""
    marks = {name for name in _ROW_MARKS if row.get(name) is True or (pair and row.get(name) == 1)}
    return marks | {name for name in TURN_MARKS if row.get(name) is True or (name == "weight" and row.get(name) == 1)}
