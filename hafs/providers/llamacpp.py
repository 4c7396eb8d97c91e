"""A llama.cpp server on loopback that hafs starts and stops: the base as 16-bit GGUF, an adapter for each request.

Why 16 bits: on some CPUs llama.cpp computes nonsense from quantized files of small models.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.providers.provider import Health, Host

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class LlamaCpp(Host):
    """Models of `conf/model/`, written as GGUF once and served from this process."""

    kind: Literal["bf16", "f16", "f32"]
    """How matrices are stored; bf16 changes nothing about weights that are bf16."""
    slots: Positive
    """Requests answered at once; they share the context."""
    threads: Positive | None
    """CPU threads; null: one for each core."""
    max_tokens: Positive
    """Of an answer, where the request does not say."""

    @property
    def account(self) -> str:
        """This machine."""
        return "~llamacpp"

    @property
    def local(self) -> bool:
        """It is."""
        return True

    @property
    def packages(self) -> tuple[str, ...]:
        """The server, and what writes its files."""
        return ("xllamacpp", "transformers", "gguf")

    @property
    def carries_adapters(self) -> bool:
        """One for each request."""
        return True

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A chat model over a server that starts with the first request.

        Raises:
            ConfigError: There is no such model or adapter, or the server's package is not installed.
        """
        from hafs.providers.llamacpp_chat import LlamaChat
        from hafs.providers.local_names import adapter_folder, known_model

        if package := self.missing_package():
            raise ConfigError(
                f"provider=llamacpp needs {package}, which is not installed", hint=how_to_install(package)
            )
        known_model(model)
        folder = adapter_folder(adapter) if adapter else None
        return LlamaChat(host=self, model=model, context=context, adapter=folder, parameters=params)

    def health(self) -> Health:
        """Whether the server's package is there; the models it could write and serve."""
        from hafs.config.tree import options

        if package := self.missing_package():
            return Health(key="not needed", reachable=False, said=f"{package} is not installed")
        return Health(key="not needed", reachable=True, models=tuple(options("model")))
