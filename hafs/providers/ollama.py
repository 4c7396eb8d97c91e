"""Models of an Ollama server, through langchain-ollama."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hafs.core.errors import ConfigError
from hafs.core.loopback import stays_here
from hafs.providers.provider import Health, Host


@dataclass(frozen=True, kw_only=True)
class Ollama(Host):
    """An Ollama server."""

    base_url: str
    """Its address."""
    keep_alive: str
    """How long a model stays loaded after a request."""

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ConfigError(f"base_url is {self.base_url!r}; it must begin with http:// or https://")

    @property
    def account(self) -> str:
        """The server."""
        return urlsplit(self.base_url).netloc

    @property
    def local(self) -> bool:
        """Whether the server is on localhost."""
        return stays_here(self.base_url)

    @property
    def packages(self) -> tuple[str, ...]:
        """LangChain's Ollama client."""
        return ("langchain_ollama",)

    @property
    def carries_adapters(self) -> bool:
        """An expert's adapter is the model of that name."""
        return True

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A model of the server; num_ctx is set, because Ollama truncates prompts at 4,096 tokens by default."""
        import httpx

        from hafs.providers.ollama_chat import OllamaChat

        if "max_tokens" in params:
            params["num_predict"] = params.pop("max_tokens")
        one_use = {
            "limits": httpx.Limits(max_keepalive_connections=0)
        }  # pooled connections belong to an event loop that may be closed
        return OllamaChat(
            model=adapter or model,
            base_url=self.base_url,
            num_ctx=context,
            keep_alive=self.keep_alive,
            async_client_kwargs=one_use,
            **params,
        )

    def health(self) -> Health:
        """Request the list of models."""
        from hafs.providers.probe import look_at

        return look_at(f"{self.base_url.rstrip('/')}/api/tags", {}, key="not needed", names=("models", "name"))
