"""Configs of all kinds of models, by the names that Llama's config has."""

from collections.abc import Mapping
from typing import Any

from hafs.core.errors import ConfigError

NEEDED = {"num_attention_heads", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"}
_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "num_attention_heads": ("n_head", "num_heads", "n_heads", "decoder_attention_heads", "attention_heads"),
    "hidden_size": ("d_model", "n_embd", "emb_dim"),
    "num_hidden_layers": ("num_layers", "n_layer", "n_layers", "decoder_layers", "num_blocks"),
    "intermediate_size": ("ffn_dim", "decoder_ffn_dim", "n_inner", "ffn_hidden_size", "dim_ff", "dff", "d_inner"),
    "num_experts_per_tok": ("moe_topk", "moe_k", "top_k_experts", "moe_top_k"),
}


def in_llamas_words(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config of another kind, its text part where it has several, by the names that Llama's has.

    Raises:
        ConfigError: transformers knows no such type, or it has no counterpart of what is needed.
    """
    whole = config_object(config)
    text = whole.get_text_config(decoder=True)
    said: dict[str, Any] = dict(text.to_dict())
    said["tie_word_embeddings"] = bool(getattr(whole, "tie_word_embeddings", False))
    for name in (*_OTHER_WORDS, "vocab_size", "num_key_value_heads", "head_dim"):
        words = (name, *_OTHER_WORDS.get(name, ()))
        said[name] = next((value for word in words if isinstance(value := _asked(text, word), int)), None)
    said["num_attention_heads"] = said["num_attention_heads"] or 1
    said["intermediate_size"] = said["intermediate_size"] or 4 * said["hidden_size"]
    missing = sorted(name for name in NEEDED if not said[name])
    if missing:
        raise ConfigError(f"planning finds no {', '.join(missing)} in the config of type {config.get('model_type')!r}")
    return said


def _asked(text: Any, word: str) -> Any:
    try:
        return getattr(text, word, None)
    except (AttributeError, ValueError, RuntimeError):  # of a field that differs from layer to layer
        return None


def config_object(config: Mapping[str, Any]) -> Any:
    """The config as transformers reads it from a file.

    Raises:
        ConfigError: transformers does not know the type.
    """
    from transformers import CONFIG_MAPPING

    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise ConfigError(f"transformers cannot build a causal language model of type {kind!r}: unknown type")
    plain = {key: value for key, value in config.items() if key not in ("model_type", "quantization_config")}
    return CONFIG_MAPPING[kind].from_dict(_decoded(plain))


def _decoded(value: Any) -> Any:
    """A config value; infinities, which the file writes as words, become numbers."""
    if isinstance(value, dict):
        word = value.get("__float__")
        return float(word) if word else {key: _decoded(part) for key, part in value.items()}
    return [_decoded(part) for part in value] if isinstance(value, list) else value
