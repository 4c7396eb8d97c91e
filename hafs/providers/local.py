"""The base model of the training stack on this machine: one copy in memory, one adapter per request.

Requests to different experts share every pass (`engine.py`), and prompts take the text path of training.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from hafs.providers.in_process_host import InProcessHost
from hafs.providers.local_names import adapter_folder, known_model, missing_weights

Positive = Annotated[int, Field(gt=0)]
_ENGINES: dict[tuple[Any, ...], Any] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Local(InProcessHost):
    """Models of `conf/model/`, loaded into this process on the first request."""

    quant: str
    """Option of conf/quant/: quantization of the base, best the same as in the training of its adapters."""
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    """auto: bf16 if the hardware supports it, fp16 on GPUs without."""
    accelerator: Literal["auto", "cpu", "gpu"]
    """auto: a GPU if available."""
    rows: Positive
    """Requests in a batch; others wait."""
    adapters: Positive
    """Adapters kept in memory; the least recently used is evicted."""
    max_tokens: Positive
    """Default limit of an answer."""

    @property
    def account(self) -> str:
        """The account of this machine."""
        return "~local"

    @property
    def packages(self) -> tuple[str, ...]:
        """What loads a base and its adapters."""
        return ("torch", "transformers", "peft", "bitsandbytes")

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """A chat model over a base; nothing is loaded yet.

        Raises:
            ConfigError: There is no such model, or no such adapter.
        """
        from hafs.providers.local_chat import LocalChat

        known_model(model)
        folder = adapter_folder(adapter) if adapter else None
        return LocalChat(host=self, model=model, context=context, adapter=folder, **params)

    def load(self, models: Sequence[str]) -> None:
        """Load the bases; adapters are loaded by the requests that name them."""
        for model in models:
            self.engine(model).call(lambda *_: None).result()

    def missing_weights(self, models: Sequence[str]) -> str:
        """The first package with weights that is not installed."""
        return missing_weights(models)

    def engine(self, model: str) -> Any:
        """The engine of a model, shared within the process."""
        from hafs.providers.engine import Engine

        key = (model, self.quant, self.precision, self.accelerator, self.rows, self.adapters)
        with _LOCK:
            if key not in _ENGINES:
                base = _Base(model, self)
                _ENGINES[key] = Engine(base.load, base.tokenizer, rows=self.rows, adapters=self.adapters)
            return _ENGINES[key]

    async def score_labels(
        self, messages: Sequence[Any], labels: Sequence[str], *, model: str, adapter: str | None = None
    ) -> list[float]:
        """The probability of each label as the answer, in their order, normalized to 1.

        Args:
            messages: The conversation so far.
            labels: Complete answers.
            model: Option of `conf/model/`.
            adapter: A folder or a run; None: the base.
        """
        import asyncio

        from hafs.providers.local_chat import LocalChat

        folder = adapter_folder(adapter) if adapter else None
        chat = LocalChat(host=self, model=model, adapter=folder)
        found = await asyncio.to_thread(chat.score_labels, messages, labels)
        return [found[label] for label in labels]


class _Base:
    """What an engine loads."""

    def __init__(self, model: str, host: Local) -> None:
        self.model, self.host = model, host

    def components(self) -> tuple[Any, Any]:
        """The model and how it is stored."""
        from hafs.config import build, compose

        config = compose("train", [f"model={self.model}", f"quant={self.host.quant}"])
        return build(config.model), build(config.quant)

    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.components()[0].tokenizer()

    def load(self) -> Any:
        """The model on its device."""
        from hafs.modeling import hardware

        model, quant = self.components()
        device = hardware.device(self.host.accelerator)
        dtype, _ = hardware.precision(self.host.precision, device)
        return model.load(quant=quant, dtype=dtype, device=device).requires_grad_(False)


def close() -> None:
    """End the engines' threads and forget the bases."""
    with _LOCK:
        engines = list(_ENGINES.values())
        _ENGINES.clear()
    for engine in engines:
        engine.close()
