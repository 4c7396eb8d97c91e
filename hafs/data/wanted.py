"""What rows say about which of their answers are to be learned, in the words of the trainers that read such rows."""

from collections.abc import Mapping
from typing import Any

from hafs.data.decode import Reject, Unusable

TURN_WORDS = ("weight", "train", "loss")
"""On a turn: OpenAI's weight (0 or 1), axolotl's train, ms-swift's loss."""
_PARTS = ("train_detail", "training_detail")  # axolotl: only some characters of the answer
_ROW_WORDS = ("label", "kto_tag")  # on a row: KTO's mark (TRL's and ms-swift's name, LLaMA-Factory's)


def is_learned(turn: Mapping[str, Any], where: str) -> bool:
    """Whether an answer is to be learned; without a word about it, it is.

    Args:
        turn: The object that a row has for the answer.
        where: What to call it in messages.

    Raises:
        Unusable: A share of a weight, a word that is no yes or no, or marks on parts of the answer.
    """
    for name in _PARTS:
        if turn.get(name):
            raise Unusable("unsupported_field", f"{where} has {name!r}; hafs learns an answer whole or not at all")
    said = {name: turn[name] for name in TURN_WORDS if turn.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, bool | int | float):
            raise Unusable("wrong_type", f"{where} has {name!r} of type {type(value).__name__}, expected 0 or 1")
        if value not in (0, 1):
            fact = f"{where} has {name!r} {value:g}, expected 0 or 1"
            raise Unusable("unsupported_field", f"{fact}; hafs learns an answer whole or not at all")
    return all(said.values())


def unwanted(row: Mapping[str, Any], *, pair: bool) -> Reject | None:
    """Why a row as a whole is not to be learned, if it says so.

    Args:
        row: The row.
        pair: Whether it is a prompt and a completion, in which a label 0 is KTO's false.
    """
    for name in _ROW_WORDS:
        value = row.get(name)
        if value is False or (pair and value == 0 and isinstance(value, int)):
            return Reject("unwanted_answer", f"{name!r} is {str(value).lower()}: its answer is not to be learned")
    for name in TURN_WORDS:
        value = row.get(name)
        if value is False or (name == "weight" and isinstance(value, int | float) and value == 0):
            return Reject("unwanted_answer", f"{name!r} of the row is {str(value).lower()}: it is not to be learned")
    return None


def row_words(row: Mapping[str, Any], *, pair: bool) -> set[str]:
    """The keys of a row with which it says that its answers are to be learned."""
    marks = {name for name in _ROW_WORDS if row.get(name) is True or (pair and row.get(name) == 1)}
    return marks | {name for name in TURN_WORDS if row.get(name) is True or (name == "weight" and row.get(name) == 1)}
