"""Groups of rows: rows with one prompt, one template or one `split_group` belong together, as in the splits."""

from collections.abc import Sequence

import numpy as np

from hafs.chat import TEXT_ROLE, Conversation
from hafs.data.content import normalize
from hafs.data.dataset import Dataset
from hafs.data.samples import Split
from hafs.evaluation.metrics import Said


def group_in(split: Split, place: int) -> str:
    """The group of a row of a split."""
    return split.family(place)


def syntax_in(split: Split, place: int, dataset: Dataset) -> str:
    """The assembler dialect that a row of a split, or else its dataset, says it is in; empty: none is said."""
    return str(split.metadata(place).get("syntax") or dataset.syntax or "")


def numbered(said: Sequence[Said]) -> np.ndarray:
    """int[N], the number of each row's group, from 0 on."""
    _, numbers = np.unique([row.group or _opening(row.prompt) for row in said], return_inverse=True)
    return numbers.reshape(-1)


def _opening(prompt: Conversation) -> str:
    """The first user turn; of a prompt without one all of it."""
    first = [message for message in prompt if message.role in ("user", TEXT_ROLE)][:1] or prompt
    return " ".join(normalize(message.content) for message in first)
