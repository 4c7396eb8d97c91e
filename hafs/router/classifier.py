"""A small classifier over sentence vectors: L2-regularized multinomial logistic regression, and where fits are kept."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hafs.config.tree import shipped

SHIPPED = "router"
"""The folder of the shipped data with the weights for the panel as it is shipped; `make data` writes it."""
_STEPS = 300


def logistic(features_ND: np.ndarray, classes: Sequence[int], *, strength: float) -> np.ndarray:
    """Weights, float64[D, classes]; the last feature, a one, is not regularized.

    Minimizes the mean cross entropy + |w|^2 / (2 strength N) by L-BFGS.

    Args:
        features_ND: What is known of each text.
        classes: Of each text, from 0.
        strength: How closely the texts are followed: scikit-learn's C.
    """
    import torch

    x_ND, wanted_N = torch.from_numpy(features_ND), torch.tensor(classes)
    w = torch.zeros(x_ND.shape[1], max(classes) + 1, dtype=x_ND.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        told = torch.nn.functional.cross_entropy(x_ND @ w, wanted_N)
        told = told + (w[:-1] ** 2).sum() / (2 * strength * len(classes))
        told.backward()
        return told

    optimizer.step(loss)  # type: ignore[arg-type]
    return w.detach().numpy()


def kept(made_of: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array made of these words: shipped, or in the cache, or made now and cached."""
    name = name_of(made_of)
    mine = _cache() / name
    for path in (Path(shipped(SHIPPED)) / name, mine):
        with suppress(OSError, ValueError):
            return np.load(path, allow_pickle=False).astype(np.float64)
    made = make()
    with suppress(OSError):  # a cache that cannot be written costs time, not an answer
        mine.parent.mkdir(parents=True, exist_ok=True)
        draft = mine.with_name(f".{mine.stem}-{os.getpid()}-{threading.get_ident()}.npy")
        np.save(draft, made)
        draft.replace(mine)
    return made


def name_of(made_of: Any) -> str:
    """The file's name: a hash of everything that the weights follow from."""
    return f"weights-{xxhash.xxh3_64_hexdigest(repr(made_of).encode())}.npy"


def _cache() -> Path:
    from hafs.model.weights import cache_folder

    return cache_folder() / "router"
