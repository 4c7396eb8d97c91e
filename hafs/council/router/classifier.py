"""Multinomial logistic regression (L2) over sentence vectors, and the cache of fitted weights."""

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from hafs.config.shipped import shipped
from hafs.core import durable, records

SHIPPED = "router"
"""The folder of the shipped weights; `make data` writes it."""
_STEPS = 300


def logistic(features_ND: np.ndarray, classes: Sequence[int], *, strength: float) -> np.ndarray:
    """Weights, float64[D, classes]; the last feature, a one, is not regularized.

    Minimizes the mean cross entropy + |w|^2 / (2 strength N) by L-BFGS.

    Args:
        features_ND: The features of each text.
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


def kept(made_of: Any, make: Callable[[], np.ndarray], shape: tuple[int | None, ...]) -> np.ndarray:
    """An array that is shipped, in the cache, or computed now and cached.

    Args:
        made_of: Everything that determines the array.
        make: Makes it.
        shape: What it must have; None: any length.
    """
    name = name_of(made_of)
    mine = (_cache() / name).with_suffix(".sealed")
    with suppress(OSError, ValueError):
        return _fitting(np.load(Path(shipped(SHIPPED)) / name, allow_pickle=False), shape)
    try:
        if (found := records.read_sealed(mine)) is not None:
            return _fitting(np.load(io.BytesIO(found), allow_pickle=False), shape)
    except (durable.Damaged, ValueError) as damage:
        records.say_damaged(mine, damage, "the router learns again")
    made = make()
    with suppress(OSError):  # a cache that cannot be written costs time, not an answer
        mine.parent.mkdir(parents=True, exist_ok=True)
        records.write_sealed(mine, _bytes_of(made))
    return made


def _fitting(found: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    if len(found.shape) != len(shape) or any(b not in (None, a) for a, b in zip(found.shape, shape, strict=True)):
        raise ValueError(f"its shape is {found.shape}, expected {shape}")
    return found.astype(np.float64)


def _bytes_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def name_of(made_of: Any) -> str:
    """The file's name: a hash of everything that determines the weights."""
    return f"weights-{xxhash.xxh3_64_hexdigest(repr(made_of).encode())}.npy"


def _cache() -> Path:
    from hafs.modeling.weights import cache_folder

    return cache_folder() / "router"
