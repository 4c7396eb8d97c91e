"""Hosts behind OpenAI's chat completions: any address, and OpenRouter with its own words."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hafs.core.errors import ConfigError
from hafs.core.loopback import stays_here
from hafs.providers.provider import Health, Host

CHECK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class OpenAICompatible(Host):
    """A host with OpenAI's chat completions under an address."""

    base_url: str
    """Up to and without `/chat/completions`."""
    api_key_env: str | None
    """The name of the variable that holds the key; None: it wants none."""
    headers: Mapping[str, str]
    """Sent along."""
    adapters: bool
    """Whether an expert's adapter is the model of that name."""
    body: Mapping[str, Any]
    """Sent along in the body of every request."""
    balance: str | None = field(default=None)
    """Where the host tells what is left on the account, below the address."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"base_url is {self.base_url!r}; it must begin with https:// or http://")
        if parts.username or parts.password:
            raise ConfigError("base_url holds a user or a password", hint="api_key_env: MY_VARIABLE names a key")
        if parts.scheme == "http" and self.api_key_env and not stays_here(self.base_url):
            raise ConfigError(
                f"base_url is {self.base_url!r}: a key is sent in clear to loopback only", hint="use https://"
            )

    @property
    def account(self) -> str:
        """The host and the variable of its key."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}/{self.api_key_env or 'open'}"

    @property
    def carries_adapters(self) -> bool:
        """Where the host serves adapters under their names."""
        return self.adapters

    def missing_key(self) -> str | None:
        """The variable, when it is not set."""
        return self.api_key_env if self.api_key_env and not os.environ.get(self.api_key_env) else None

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A model behind the address."""
        from hafs.providers.openai_client import Wire

        return Wire(
            base_url=self.base_url,
            model=adapter or model,
            account=self.account,
            api_key_env=self.api_key_env,
            headers=dict(self.headers),
            body=dict(self.body),
            parameters=params,
        )

    def health(self) -> Health:
        """Ask for its list of models."""
        from hafs.providers.probe import look

        return look(self.base_url, self.headers, api_key_env=self.api_key_env, balance=self.balance)


def openai_compatible(
    *, base_url: str, api_key_env: str | None, headers: Mapping[str, str], adapters: bool, body: Mapping[str, Any]
) -> OpenAICompatible:
    """Any host with OpenAI's chat completions."""
    return OpenAICompatible(base_url=base_url, api_key_env=api_key_env, headers=headers, adapters=adapters, body=body)


def openrouter(
    *, base_url: str, api_key_env: str | None, site_url: str | None, app_name: str, routing: Mapping[str, Any]
) -> OpenAICompatible:
    """OpenRouter, with our own name in its attribution and its preferences for who serves a model.

    Args:
        base_url: Its address.
        api_key_env: The variable of its key.
        site_url: Whose traffic it is; None: nobody's site.
        app_name: What the traffic is for.
        routing: OpenRouter's `provider` object.
    """
    attribution = {"X-Title": app_name, **({"HTTP-Referer": site_url} if site_url else {})}
    body = {"usage": {"include": True}, **({"provider": dict(routing)} if routing else {})}
    return OpenAICompatible(
        base_url=base_url, api_key_env=api_key_env, headers=attribution, adapters=False, body=body, balance="key"
    )
