"""Who answers: a provider names a host, its models by tier, and what it takes.

    from hafs.providers.provider import Provider          what a `provider=` option builds
    from hafs.providers.failover import failover  one chat model over an ordered chain of them

A host (`Host`) knows how to reach models; `hafs.providers.scripted` is the one without any.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from hafs.config.extras import installed
from hafs.core.errors import ConfigError
from hafs.providers.provider_error import Refused
from hafs.providers.quota import Limits

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["TIERS", "Health", "Host", "Limits", "Provider", "Refused", "Tier"]

Tier = Literal["fast", "coding", "reasoning", "cheap", "fallback"]
"""What a model is asked for: routing, answering, merging, saving money, and when nothing else answers."""
TIERS: tuple[Tier, ...] = get_args(Tier)
Positive = Annotated[int, Field(gt=0)]

Dollars = Annotated[Sequence[float], Field(min_length=2, max_length=2)]

KEPT_MODELS = 64
"""Chat models a provider keeps, one for each set of parameters it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a look at a host found; nothing of it costs tokens."""

    key: str
    """`present`, `not needed`, or the name of the variable that is not set."""
    reachable: bool | None
    """None: it was not tried."""
    said: str = ""
    """Why it is not reachable, in one line without secrets."""
    quota: str = ""
    """What the host says is left, where it says so."""
    models: tuple[str, ...] = ()
    """Models the host offers; empty where it does not tell."""


class Host(ABC):
    """Where models run and how they are asked."""

    @property
    @abstractmethod
    def account(self) -> str:
        """Whose limits a call counts against; names a variable or an address, never holds a key."""

    @abstractmethod
    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> "BaseChatModel":
        """A chat model that makes one call a request, without retries of its own.

        It raises `Refused` where it knows why a call failed. Its last chunk, or its message, says `finish_reason`.

        Args:
            model: The host's own name of it.
            context: Tokens of prompt and answer together.
            adapter: Name or folder of an expert's adapter, for hosts that carry adapters; others get None.
            params: temperature, top_p, max_tokens, seed and the like, as far as the provider lists them.
        """

    @abstractmethod
    def health(self) -> Health:
        """Look whether the host could answer, within a few seconds and for nothing."""

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, costs nothing and is asked last when quotas end."""
        return False

    @property
    def carries_adapters(self) -> bool:
        """Whether an expert's adapter can be asked for."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Modules that it imports when it is asked, and that not every installation of hafs has."""
        return ()

    def missing_package(self) -> str | None:
        """The first of `packages` that is not installed."""
        return next((name for name in self.packages if not installed(name)), None)

    def missing_key(self) -> str | None:
        """The name of the variable that should hold a key and does not."""
        return None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """What one `provider=` option describes."""

    name: str
    """As in `provider=`."""
    host: Host
    """Where its models run."""
    models: Mapping[Tier, str]
    """The host's names of its models, by tier."""
    context: Mapping[Tier, Positive]
    """Tokens of prompt and answer that each of them takes."""
    parameters: Sequence[str]
    """What its models accept; others are left out of a call, and tools or response_format lead past it."""
    limits: Limits
    """How much may be asked of the account, whatever its host allows."""
    equivalents: Mapping[str, Mapping[Tier, str]]
    """Stands in for other providers by name when their quota ends: its own models of the same kind, by tier."""
    price: Mapping[Tier, Dollars] | None
    """US dollars for a million tokens in and out, by tier; None: what the host says, else unknown."""
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key in ("models", "context"):
            missing = [tier for tier in TIERS if tier not in getattr(self, key)]
            if missing:
                raise ConfigError(f"provider {self.name!r} has no {key} for {', '.join(missing)}; each tier needs one")

    @cached_property
    def takes(self) -> frozenset[str]:
        """The parameters, to look them up."""
        return frozenset(self.parameters)

    def chat(self, tier: Tier, *, model: str | None = None, adapter: str | None = None, **params: Any) -> Any:
        """The chat model of a tier; the same one for the same words.

        Args:
            tier: Which of its models.
            model: Another model of the same host instead.
            adapter: Name or folder of an expert's adapter; left out where the host carries none.
            params: As in `Host.chat`.
        """
        adapter = adapter if self.host.carries_adapters else None
        words = repr((tier, model, adapter, sorted(params.items())))
        if words not in self._kept:
            if len(self._kept) >= KEPT_MODELS:
                self._kept.pop(next(iter(self._kept)))
            chosen = model or self.models[tier]
            self._kept[words] = self.host.chat(chosen, context=self.context[tier], adapter=adapter, **params)
        return self._kept[words]

    def health(self) -> Health:
        """Look whether it could answer."""
        return self.host.health()
