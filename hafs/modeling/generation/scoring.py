"""How likely a model finds each of a few answers: a choice among answers without any parsing."""

from collections.abc import Sequence
from typing import Any

import torch

from hafs.modeling.generation.decoder import Decoder


@torch.no_grad()
def log_likelihoods(
    net: Any, prompt: Sequence[int], answers: Sequence[Sequence[int]], *, adapter: str | None
) -> list[float]:
    """Nats, at most 0, of each answer after the prompt; the prompt is read once.

    Args:
        net: A model set for inference.
        prompt: Token ids.
        answers: Token ids of each answer, its end token included if the answer should end there.
        adapter: Name of an adapter that the net holds; None: the base alone.
    """
    reader = Decoder(net, ends=())
    with reader.taking(adapter):
        return _log_likelihoods(reader, prompt, answers, adapter)


def _log_likelihoods(
    reader: Decoder, prompt: Sequence[int], answers: Sequence[Sequence[int]], adapter: str | None
) -> list[float]:
    if reader.cache != "hafs":
        return [_alone(reader, prompt, answer, adapter) for answer in answers]
    kv_cache = reader.kv_cache
    first = kv_cache.open()
    kv_cache.begin_packed([(first, len(prompt))])
    hidden_TD = reader.packed([prompt], [0], [adapter])
    begin_V = torch.log_softmax(reader.logits(hidden_TD[-1:]), -1)[0]
    nats = [float(begin_V[answer[0]]) for answer in answers]
    longer = [i for i, answer in enumerate(answers) if len(answer) > 1]
    if longer:
        fed = [list(answers[i][:-1]) for i in longer]
        past = [len(prompt)] * len(longer)
        kv_cache.begin_packed([(kv_cache.copy(first), len(tokens)) for tokens in fed])
        hidden_TD = reader.packed(fed, past, [adapter] * len(longer))
        logs_TV = torch.log_softmax(reader.logits(hidden_TD), -1)
        target_T = torch.tensor([token for i in longer for token in answers[i][1:]], device=logs_TV.device)
        found = logs_TV.gather(1, target_T[:, None])[:, 0].split([len(tokens) for tokens in fed])
        for i, rest in zip(longer, found, strict=True):
            nats[i] += float(rest.sum())
    return nats


def _alone(reader: Decoder, prompt: Sequence[int], answer: Sequence[int], adapter: str | None) -> float:
    """One answer, if a prompt's cache can serve only one."""
    hidden_TD = reader.whole([*prompt, *answer[:-1]], adapter)
    logs_TV = torch.log_softmax(reader.logits(hidden_TD[-len(answer) :]), -1)
    return float(logs_TV.gather(1, torch.tensor(answer, device=logs_TV.device)[:, None]).sum())


def probabilities(nats: Sequence[float]) -> list[float]:
    """Log likelihoods as probabilities that add up to 1: the choice of the model among these answers."""
    return torch.softmax(torch.tensor(nats, dtype=torch.float64), 0).tolist()
