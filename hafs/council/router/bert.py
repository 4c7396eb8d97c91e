"""The forward pass of a BERT encoder in NumPy, so that routing a question loads neither torch nor transformers.

Devlin et al. 2018 (arXiv:1810.04805); weights and config in the format of the Hugging Face hub. Shapes: `B` texts, `T`
tokens of the longest, `D` width of a token, `H` heads.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SUPPORTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


@dataclass(frozen=True, kw_only=True)
class Bert:
    """An encoder's weights by the names that they have in its file."""

    weights: dict[str, np.ndarray]
    layers: int
    heads: int
    epsilon: float
    """Of the layer norms."""

    @property
    def width(self) -> int:
        """D."""
        return self.weights["embeddings.word_embeddings.weight"].shape[1]

    def hidden_states(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> list[np.ndarray]:
        """The embeddings and the output of each layer, float32[B, T, D] each.

        Args:
            ids_BT: Token ids.
            mask_BT: 1 for a token, 0 for padding.
        """
        word = self.weights["embeddings.word_embeddings.weight"][ids_BT]
        position = self.weights["embeddings.position_embeddings.weight"][: ids_BT.shape[1]]
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        states = [self._normalized(word + position + kind, "embeddings.LayerNorm")]
        bias_B11T = np.where(mask_BT[:, None, None, :] > 0, np.float32(0), np.finfo(np.float32).min)
        for layer in range(self.layers):
            states.append(self._layer(states[-1], bias_B11T, f"encoder.layer.{layer}"))
        return states

    def _layer(self, x_BTD: np.ndarray, bias_B11T: np.ndarray, name: str) -> np.ndarray:
        attended = self._linear(self._attention(x_BTD, bias_B11T, name), f"{name}.attention.output.dense")
        x_BTD = self._normalized(x_BTD + attended, f"{name}.attention.output.LayerNorm")
        wide = _gelu(self._linear(x_BTD, f"{name}.intermediate.dense"))
        return self._normalized(x_BTD + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _attention(self, x_BTD: np.ndarray, bias_B11T: np.ndarray, name: str) -> np.ndarray:
        B, T, D = x_BTD.shape
        query, key, value = (
            self._linear(x_BTD, f"{name}.attention.self.{part}").reshape(B, T, self.heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores_BHTT = query @ key.transpose(0, 1, 3, 2) * np.float32((D // self.heads) ** -0.5) + bias_B11T
        scores_BHTT -= scores_BHTT.max(-1, keepdims=True)
        np.exp(scores_BHTT, out=scores_BHTT)
        scores_BHTT /= scores_BHTT.sum(-1, keepdims=True)
        return (scores_BHTT @ value).transpose(0, 2, 1, 3).reshape(B, T, D)

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _normalized(self, x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.epsilon))
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def load(folder: Path) -> Bert:
    """Read an encoder.

    Args:
        folder: With `config.json` and `model.safetensors`.

    Raises:
        ValueError: It is another architecture than this module computes.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key, value in _SUPPORTED.items():
        if config.get(key, value) != value:
            raise ValueError(f"{folder}: {key} is {config[key]!r}, expected {value!r}")
    return Bert(
        weights={name.removeprefix("bert."): tensor for name, tensor in mapped(folder / "model.safetensors").items()},
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        epsilon=config["layer_norm_eps"],
    )


_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def mapped(file: Path) -> dict[str, np.ndarray]:
    """The float tensors of a safetensors file, in float32, as views of the file: what is not read takes no memory.

    Of the word embeddings, half of the encoder, a question reads a few rows.
    """
    whole = np.memmap(file, np.uint8, "r")
    size = int.from_bytes(whole[:8].tobytes(), "little")
    header = json.loads(whole[8 : 8 + size].tobytes())
    found = {}
    for name, facts in header.items():
        if name != "__metadata__" and facts["dtype"] in _FLOATS:
            begin, end = (8 + size + offset for offset in facts["data_offsets"])
            tensor = whole[begin:end].view(_FLOATS[facts["dtype"]]).reshape(facts["shape"])
            found[name] = np.asarray(tensor, np.float32)
    return found


def _gelu(x: np.ndarray) -> np.ndarray:
    """X * Phi(x), with the error function of Abramowitz and Stegun 7.1.26: at most 1.5e-7 off."""
    z = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    return (x * 0.5 * (1 + erf)).astype(np.float32)
