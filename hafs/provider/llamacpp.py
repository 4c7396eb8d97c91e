"""A llama.cpp server that hafs starts and stops."""

from dataclasses import dataclass
from typing import Any

from hafs.errors import ConfigError
from hafs.provider import Health, Host


@dataclass(frozen=True, kw_only=True)
class LlamaCpp(Host):
    """A llama.cpp server that hafs starts and stops."""

    @property
    def account(self) -> str:
        """This machine."""
        return "~llamacpp"

    @property
    def local(self) -> bool:
        """It is."""
        return True

    @property
    def carries_adapters(self) -> bool:
        """One for each request."""
        return True

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """Not here yet."""
        raise ConfigError("provider=llamacpp is not here yet")

    def health(self) -> Health:
        """Not here yet."""
        return Health(key="not needed", reachable=False, said="not here yet")
