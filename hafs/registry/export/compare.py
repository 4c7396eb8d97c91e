"""The distance between the next-token distributions of an export and of the original, on held-out prompts.

It compares up to `PLACES` evenly spread positions in the answers of each prompt: the distribution of the next
token, given all tokens before it. `P` positions in total, `V` vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hafs.chat import Conversation, render
from hafs.modeling import model_parts

PLACES = 8
LONGEST = 1024
"""Tokens of a prompt; later positions are ignored."""


class Place(NamedTuple):
    """A position whose next token is predicted."""

    before: list[int]
    """All token ids before it."""
    token: int
    """The actual token at the position."""


def places(tokenizer: Any, conversations: Sequence[Conversation], *, each: int = PLACES) -> list[Place]:
    """The compared positions of held-out conversations."""
    found = []
    for conversation in conversations:
        rendered = render(tokenizer, conversation)
        asked = [i for i, counts in enumerate(rendered.supervised[:LONGEST]) if counts and i]
        step = max(1, math.ceil(len(asked) / each))
        found += [Place(list(rendered.tokens[:i]), rendered.tokens[i]) for i in asked[::step]]
    return found


@dataclass(frozen=True, kw_only=True)
class Partial:
    """The part of a distribution that a server returns: its most likely tokens."""

    nats: dict[int, float]
    """Log probability of each returned token."""


def of_net(net: Any, asked: Sequence[Place]) -> torch.Tensor:
    """`logp_PV` of a net in inference: one pass per group of positions with a common prefix."""
    device, rows = model_parts.device_of(net), []
    with torch.inference_mode():
        for group in _sharing(asked):
            ids = torch.tensor([group[-1].before], device=device)
            ends = torch.tensor([len(place.before) - 1 for place in group], device=device)
            logits_PV = net(input_ids=ids, use_cache=False, logits_to_keep=ends).logits[0]
            rows.append(torch.log_softmax(logits_PV.float(), -1).cpu())
    return torch.cat(rows)


def _sharing(asked: Sequence[Place]) -> list[list[Place]]:
    """Positions grouped by conversation, the shortest prefix first."""
    groups: list[list[Place]] = []
    for place in asked:
        last = groups[-1][-1].before if groups else None
        if last is not None and place.before[: len(last)] == last:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


@dataclass(frozen=True, kw_only=True)
class Distance:
    """The difference between an export and the original."""

    kl: float
    """Mean KL divergence of the next token, in nats: original over export."""
    kl_max: float
    perplexity: float
    """Perplexity of the export, over the actual tokens at the positions."""
    original: float
    """Perplexity of the original."""
    places: int
    prompts: int

    @property
    def perplexity_change(self) -> float:
        """The relative difference in perplexity."""
        return self.perplexity / self.original - 1

    def __str__(self) -> str:
        change = f"{self.original:.4f} -> {self.perplexity:.4f} ({self.perplexity_change:+.2%})"
        kl = f"mean KL {self.kl:.2e} nats (largest {self.kl_max:.2e})"
        return f"{kl}, perplexity {change}, {self.places} places of {self.prompts} prompts"


def distance(original_PV: torch.Tensor, export: "torch.Tensor | Sequence[Partial]", asked: Sequence[Place]) -> Distance:
    """Compare two sets of distributions at the same positions.

    A server returns only its most likely tokens; all others count as one.
    """
    tokens = torch.tensor([place.token for place in asked])
    own = original_PV.gather(1, tokens[:, None])[:, 0]
    if isinstance(export, torch.Tensor):
        kl = (original_PV.exp() * (original_PV - export)).nan_to_num(0.0).sum(-1)
        theirs = export.gather(1, tokens[:, None])[:, 0]
    else:
        told = zip(original_PV, export, asked, strict=True)
        pairs = [_partial(own_V, each.nats, place.token) for own_V, each, place in told]
        kl, theirs = torch.tensor([pair[0] for pair in pairs]), torch.tensor([pair[1] for pair in pairs])
    return Distance(
        kl=float(kl.mean()), kl_max=float(kl.max()), perplexity=math.exp(-float(theirs.mean())),
        original=math.exp(-float(own.mean())), places=len(asked), prompts=len(_sharing(asked)),
    )  # fmt: skip


def _partial(original_V: torch.Tensor, told: dict[int, float], token: int) -> tuple[float, float]:
    """KL over the returned tokens, with all others as one, and the log probability of the actual token."""
    ids = torch.tensor(list(told))
    p_log, q_log = original_V[ids].double(), torch.tensor(list(told.values()), dtype=torch.float64)
    p_rest, q_rest = (max(1e-12, 1 - float(x.exp().sum())) for x in (p_log, q_log))
    kl = float((p_log.exp() * (p_log - q_log)).sum()) + p_rest * math.log(p_rest / q_rest)
    if token in told:
        return kl, told[token]
    share = float(original_V[token].exp()) / p_rest  # not returned: its share of the rest, as in the original
    return kl, math.log(max(1e-12, q_rest * min(1.0, share)))


Measure = Callable[[Sequence[Place]], "torch.Tensor | list[Partial]"]
