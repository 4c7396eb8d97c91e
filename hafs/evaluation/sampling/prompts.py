"""The prompts that may be asked: those of the training split, and none that the task suite or a held-out family has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hafs.chat import TEXT_ROLE, Conversation
from hafs.core.errors import DataError
from hafs.data.content import normalize
from hafs.data.prepare import Prepared
from hafs.evaluation.groups import group_in
from hafs.modeling.generation import prompt_of


@dataclass(frozen=True, kw_only=True)
class SamplingPrompt:
    """One prompt of the training split, and the row that it came from."""

    id: str
    conversation: Conversation
    """All before the last answer."""
    reference: Conversation
    """The row's own last answer."""
    group: str
    """Rows that share it were held out or trained on together."""
    metadata: dict[str, Any]


def training_prompts(data: Prepared, *, kept_out: Sequence[str], most: int | None) -> list[SamplingPrompt]:
    """The prompts of the training split, in its order.

    Args:
        data: The splits.
        kept_out: Prompts of a suite that no training may see.
        most: Maximum number; None: all. The split is ordered by content hash, so the first ones are a random sample.

    Raises:
        DataError: The training split has no prompts.
    """
    split, never = data.splits["train"], set(map(normalize, kept_out))
    held_out = {group_in(data.splits[name], i) for name in ("val", "test") for i in range(len(data.splits[name]))}
    found: list[SamplingPrompt] = []
    seen = set()
    for place in range(len(split)):
        conversation, group = split.conversation(place), group_in(split, place)
        asked = prompt_of(conversation)
        last = normalize(asked[-1].content)
        known = repr([(m.role, m.content) for m in asked])
        if asked[0].role == TEXT_ROLE or group in held_out or last in never or known in seen:
            continue
        seen.add(known)
        found.append(
            SamplingPrompt(
                id=split.ids[place],
                conversation=asked,
                reference=conversation[len(asked) :],
                group=group,
                metadata=split.metadata(place),
            )
        )
        if len(found) == most:
            break
    if not found:
        raise DataError("the training split has no prompts to ask", hint="plain text rows have no question")
    return found
