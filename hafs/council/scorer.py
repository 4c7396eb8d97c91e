"""Scores labels by their next-token probabilities, for the `llm` router and trained routers."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hafs.core.errors import ConfigError
from hafs.council.adapters import folder_of, refuse_another_base

WITHOUT = "hafs train experiment=router makes one; router=cascade does without"
Score = Callable[..., Awaitable[Sequence[float]]]


def scorer(adapters: Sequence[str], providers: Sequence[Any]) -> Score | None:
    """A function (messages, labels, adapter=) that scores labels with the tier `fast`; None: the first provider cannot.

    Args:
        adapters: That the router asks for, by registry name or folder; with one, any provider that can score will do.
        providers: The chain.

    Raises:
        ConfigError: An adapter is missing or made for another base, or no provider can score with it.
    """
    able = [provider for provider in providers if hasattr(provider.host, "score_labels")]
    if adapters and not able:
        raise ConfigError(
            f"the router's adapter {adapters[0]!r} needs a provider that scores labels", hint="provider=local"
        )
    if not able or (not adapters and able[0] is not providers[0]):
        return None
    host, model = able[0].host, str(able[0].models["fast"])
    folders = {adapter: folder_of(adapter, "the router", WITHOUT) for adapter in adapters}
    for folder in folders.values():
        refuse_another_base("the router", folder, model, hint="provider.local.models.fast={theirs}")

    async def score(messages: Sequence[Any], labels: Sequence[str], *, adapter: str | None) -> Sequence[float]:
        folder = str(folders[adapter]) if adapter else None
        return await host.score_labels(messages, labels, model=model, adapter=folder)

    return score
