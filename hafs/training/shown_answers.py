"""Answers to held-out prompts after each stage, for people to read and to measure their length."""

from dataclasses import dataclass

from hafs.core.waiting import waiting
from hafs.data.samples import Split
from hafs.modeling.generation import answer, prompt_of
from hafs.training.module import FineTuningModule


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Which held-out prompts are answered after each stage."""

    prompts: int
    """Number of answers that are stored and printed."""
    measured: int
    """Number of answers over which the mean length is measured."""
    max_new_tokens: int
    """Maximum length of an answer, in tokens."""


def shown_answers(module: FineTuningModule, held_out: Split, shown: Shown) -> tuple[list[str], float]:
    """Answers to the shown prompts, and the mean length of all measured answers in tokens.

    Args:
        module: The model that answers; it also logs the answers.
        held_out: The split whose first prompts are answered.
        shown: How many prompts are answered.
    """
    count = min(max(shown.measured, shown.prompts), len(held_out))
    prompts = [prompt_of(held_out.conversation(i)) for i in range(count)]
    if not prompts:
        return [], 0.0
    with waiting(f"answering {len(prompts)} held-out prompts"):
        said = answer(module.net, module.tokenizer, prompts, max_new_tokens=shown.max_new_tokens)
    module.note_answers(prompts[: shown.prompts], said)
    return [a.text for a in said[: shown.prompts]], sum(a.tokens for a in said) / len(said)
