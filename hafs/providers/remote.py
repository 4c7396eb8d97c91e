"""Hosts with an OpenAI-compatible API: any address, and OpenRouter with its own options."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hafs.core.errors import ConfigError
from hafs.core.loopback import stays_here
from hafs.providers.provider import Health, Host

CHECK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class OpenAICompatible(Host):
    """A host with an OpenAI-compatible API."""

    base_url: str
    """The address without `/chat/completions`."""
    api_key_env: str | None
    """The name of the variable that holds the key; None: it needs none."""
    headers: Mapping[str, str]
    """Extra request headers."""
    adapters: bool
    """Whether an expert's adapter is the model of that name."""
    body: Mapping[str, Any]
    """Extra body fields of every request."""
    balance: str | None = field(default=None)
    """Path of the account's balance, below the address."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"base_url is {self.base_url!r}; it must begin with https:// or http://")
        if parts.username or parts.password:
            raise ConfigError("base_url contains a user or a password", hint="api_key_env: MY_VARIABLE names a key")
        if parts.scheme == "http" and self.api_key_env and not stays_here(self.base_url):
            raise ConfigError(
                f"base_url is {self.base_url!r}: plain HTTP with a key is allowed only to localhost",
                hint="use https://",
            )

    @property
    def account(self) -> str:
        """The host and the name of the key's variable."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}/{self.api_key_env or 'open'}"

    @property
    def carries_adapters(self) -> bool:
        """Whether the host serves adapters under their names."""
        return self.adapters

    @property
    def watches(self) -> bool:
        """Its models read a complete answer as a stream if they have a `Watch`."""
        return True

    def missing_key(self) -> str | None:
        """The key's variable if it is not set."""
        return self.api_key_env if self.api_key_env and not os.environ.get(self.api_key_env) else None

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A model of the host."""
        from hafs.providers.openai_client import OpenAIClient

        return OpenAIClient(
            base_url=self.base_url,
            model=model,
            adapter=adapter,
            account=self.account,
            api_key_env=self.api_key_env,
            headers=dict(self.headers),
            body=dict(self.body),
            watch=params.pop("watch", None),
            parameters=params,
        )

    def load(self, models: Sequence[str]) -> None:
        """Import the HTTP client."""
        import hafs.providers.openai_client  # noqa: F401

    def health(self) -> Health:
        """Request the list of models."""
        from hafs.providers.probe import look

        return look(self.base_url, self.headers, api_key_env=self.api_key_env, balance=self.balance)


def openai_compatible(
    *, base_url: str, api_key_env: str | None, headers: Mapping[str, str], adapters: bool, body: Mapping[str, Any]
) -> OpenAICompatible:
    """Any host with an OpenAI-compatible API."""
    return OpenAICompatible(base_url=base_url, api_key_env=api_key_env, headers=headers, adapters=adapters, body=body)


def openrouter(
    *, base_url: str, api_key_env: str | None, site_url: str | None, app_name: str, routing: Mapping[str, Any]
) -> OpenAICompatible:
    """OpenRouter, with attribution headers and its routing preferences.

    Args:
        base_url: Its address.
        api_key_env: The variable of its key.
        site_url: Your site, for the attribution; None: none.
        app_name: Your application, for the attribution.
        routing: OpenRouter's `provider` object.
    """
    attribution = {"X-Title": app_name, **({"HTTP-Referer": site_url} if site_url else {})}
    body = {"usage": {"include": True}, **({"provider": dict(routing)} if routing else {})}
    return OpenAICompatible(
        base_url=base_url, api_key_env=api_key_env, headers=attribution, adapters=False, body=body, balance="key"
    )
