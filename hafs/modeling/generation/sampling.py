"""How the next token is drawn; each row by its own rule and from its own random numbers.

Legend: `B` rows, `V` vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(kw_only=True)
class Sampling:
    """The rule of one row; a seed gives the same answer whatever the row's neighbours."""

    temperature: float = 0.0
    """0: always the most likely token."""
    top_p: float = 1.0
    """Draw among the most likely tokens that together have this probability."""
    seed: int | None = None
    """Of the row's random numbers; None: different each time."""
    generator: torch.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.temperature > 0 and self.generator is None:
            self.generator = torch.Generator()
            if self.seed is None:
                self.generator.seed()
            else:
                self.generator.manual_seed(self.seed)


def next_tokens(logits_BV: torch.Tensor, rules: Sequence[Sampling]) -> list[int]:
    """The next token of each row."""
    tokens = logits_BV.argmax(-1).tolist()
    for row, rule in enumerate(rules):
        if rule.temperature > 0:
            tokens[row] = _drawn(logits_BV[row].cpu(), rule)
    return tokens


def _drawn(logits_V: torch.Tensor, rule: Sampling) -> int:
    probs_V, order_V = torch.softmax(logits_V.float() / rule.temperature, -1).sort(descending=True)
    if rule.top_p < 1:
        before_V = probs_V.cumsum(-1) - probs_V
        probs_V = probs_V.masked_fill(before_V >= rule.top_p, 0.0)
        probs_V[0] = probs_V[0].clamp(min=1e-30)
    return int(order_V[torch.multinomial(probs_V, 1, generator=rule.generator)])
