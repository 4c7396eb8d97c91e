"""A llama.cpp server on localhost that hafs starts and stops: the base as 16-bit GGUF, one adapter per request.

Why 16 bits: on some CPUs llama.cpp computes nonsense from quantized files of small models.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.providers.in_process_host import InProcessHost

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class LlamaCpp(InProcessHost):
    """Models of `conf/model/`, written as GGUF once and served from this process."""

    kind: Literal["bf16", "f16", "f32"]
    """Storage type of the weight matrices; bf16 is lossless for bf16 weights."""
    slots: Positive
    """Concurrent requests; they share the context."""
    threads: Positive | None
    """CPU threads; null: one per core."""
    max_tokens: Positive
    """Default limit of an answer."""

    @property
    def account(self) -> str:
        """The account of this machine."""
        return "~llamacpp"

    @property
    def packages(self) -> tuple[str, ...]:
        """The server, and what writes its GGUF files."""
        return ("xllamacpp", "transformers", "gguf")

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A chat model whose server starts with the first request.

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
