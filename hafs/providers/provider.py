"""A provider: its host, its models by tier, and the parameters that they accept.

    from hafs.providers.provider import Provider          what a `provider=` option builds
    from hafs.providers.failover import failover  one chat model over an ordered chain of them

A host (`Host`) knows how to reach models; `hafs.providers.scripted` is the one without any.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from hafs.config.extras import installed
from hafs.core.errors import ConfigError
from hafs.providers.provider_error import ProviderError
from hafs.providers.quota import Limits

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["TIERS", "Health", "Host", "Limits", "Provider", "ProviderError", "Tier"]

Tier = Literal["fast", "coding", "reasoning", "cheap", "fallback"]
"""The use of a model: routing, answering, merging, saving money, and the last resort."""
TIERS: tuple[Tier, ...] = get_args(Tier)
Positive = Annotated[int, Field(gt=0)]

Dollars = Annotated[Sequence[float], Field(min_length=2, max_length=2)]

KEPT_MODELS = 64
"""Chat models that a provider caches, one per set of parameters."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """The result of probing a host, which costs no tokens."""

    key: str
    """`present`, `not needed`, or the name of the variable that is not set."""
    reachable: bool | None
    """None: not tried."""
    said: str = ""
    """Why the host is not reachable, in one line without secrets."""
    quota: str = ""
    """The remaining quota, if the host reports it."""
    models: tuple[str, ...] = ()
    """Models that the host offers; empty if it does not list them."""


class Host(ABC):
    """Where models run and how they are called."""

    @property
    @abstractmethod
    def account(self) -> str:
        """The account whose limits apply: names a variable or an address, never a key."""

    @abstractmethod
    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> "BaseChatModel":
        """A chat model that makes one call per request, without retries.

        It raises `ProviderError` if it knows why a call failed. Its last chunk or message has a `finish_reason`.

        Args:
            model: The host's own name of it.
            context: Context length in tokens, prompt and answer.
            adapter: Name or folder of an expert's adapter, for hosts that serve adapters; others get None.
            params: temperature, top_p, max_tokens, seed and the like, if the provider lists them.
        """

    @abstractmethod
    def health(self) -> Health:
        """Probe the host within a few seconds, without cost."""

    @property
    def local(self) -> bool:
        """Whether it runs on this machine: free, and called last when quotas are exhausted."""
        return False

    @property
    def in_process(self) -> bool:
        """Whether its models are loaded by the process that asks them."""
        return False

    @property
    def carries_adapters(self) -> bool:
        """Whether it serves the experts' adapters."""
        return False

    @property
    def watches(self) -> bool:
        """Whether `chat` takes `watch`: how long the host may be silent while it makes a complete answer."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Optional modules that it imports."""
        return ()

    def load(self, models: Sequence[str]) -> None:  # noqa: B027  most hosts have nothing to load
        """Load what the first call would load.

        Args:
            models: Names of models that will be asked.
        """

    def missing_package(self) -> str | None:
        """The first of `packages` that is not installed."""
        return next((name for name in self.packages if not installed(name)), None)

    def missing_weights(self, models: Sequence[str]) -> str:
        """Why models cannot be loaded on this machine, and what to do; empty if they can, or run elsewhere."""
        return ""

    def missing_key(self) -> str | None:
        """The name of the key's environment variable if it is not set."""
        return None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A `provider=` option."""

    name: str
    """As in `provider=`."""
    host: Host
    """Where its models run."""
    models: Mapping[Tier, str]
    """The host's model names, by tier."""
    context: Mapping[Tier, Positive]
    """Context length of each in tokens."""
    parameters: Sequence[str]
    """Parameters that its models accept; others are dropped, but tools and response_format are never dropped."""
    limits: Limits
    """Our own limits of the account."""
    equivalents: Mapping[str, Mapping[Tier, str]]
    """Replaces other providers whose quota is exhausted: its equivalent models, by provider and tier."""
    price: Mapping[Tier, Dollars] | None
    """US dollars per million input and output tokens, by tier; None: as the host reports, else unknown."""
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key in ("models", "context"):
            missing = [tier for tier in TIERS if tier not in getattr(self, key)]
            if missing:
                raise ConfigError(f"provider {self.name!r} has no {key} for {', '.join(missing)}; each tier needs one")

    @cached_property
    def takes(self) -> frozenset[str]:
        """The accepted parameters as a set."""
        return frozenset(self.parameters)

    def chat(self, tier: Tier, *, model: str | None = None, adapter: str | None = None, **params: Any) -> Any:
        """The chat model of a tier; cached by its arguments.

        Args:
            tier: Which of its models.
            model: Another model of the same host instead.
            adapter: Name or folder of an expert's adapter; ignored if the host serves none.
            params: As in `Host.chat`.
        """
        adapter = adapter if self.host.carries_adapters else None
        key = repr((tier, model, adapter, sorted(params.items())))
        if key not in self._kept:
            if len(self._kept) >= KEPT_MODELS:
                self._kept.pop(next(iter(self._kept)))
            chosen = model or self.models[tier]
            self._kept[key] = self.host.chat(chosen, context=self.context[tier], adapter=adapter, **params)
        return self._kept[key]

    def load(self) -> None:
        """Load what its first answer would load; nothing if it cannot be used."""
        if not (self.host.missing_key() or self.host.missing_package()):
            self.host.load([self.models["coding"]])

    def health(self) -> Health:
        """Probe its host; a host on this machine needs the weights of its models too."""
        found = self.host.health()
        lacking = self.host.missing_weights(tuple(self.models.values())) if found.reachable else ""
        return replace(found, reachable=False, said=lacking) if lacking else found
