"""A BPE tokenizer as llama.cpp's metadata: byte-level, or SentencePiece-like with byte fallback.

It is read from the tokenizer that transformers loads, as in training: that class may split text differently from the
`tokenizer.json` beside it (`Qwen2Tokenizer` always splits as Qwen2 does).
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_SPLIT.replace("DIGITS", r"\p{N}"): "qwen2", _SPLIT.replace("DIGITS", r"\p{N}{1,3}"): "llama-bpe"}
"""Regular expressions as `tokenizer.json` has them, and llama.cpp's names for them."""


def add_vocabulary(writer: Any, folder: Path, size: int) -> None:
    """Add tokens, merges, special tokens and the chat template of a folder in transformers' format.

    Args:
        writer: The `gguf` package's.
        folder: What `AutoTokenizer` loads.
        size: Rows of the model's embedding; missing token ids become unused tokens.

    Raises:
        ConfigError: This kind of tokenizer is not supported.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens, kinds = _tokens(described, size)
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in described["model"]["merges"]]
    if scores := _piece_scores(described, tokens, merges):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(scores)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_split_name(described, folder))
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    ids = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id,
           "unk": tokenizer.unk_token_id}  # fmt: skip
    for name, token in ids.items():
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    bare = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(bool(bare) and bare[0] == tokenizer.bos_token_id)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(described: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    from gguf import TokenType

    bytewise = described["model"].get("byte_fallback")
    by_id = {
        index: (token, TokenType.BYTE if bytewise and _BYTE.fullmatch(token) else TokenType.NORMAL)
        for token, index in described["model"]["vocab"].items()
    }
    for added in described.get("added_tokens", ()):
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        by_id[added["id"]] = (added["content"], kind)
    if max(by_id) >= size:
        raise ConfigError(f"the tokenizer has token {max(by_id)}, the embedding of the model has only {size} rows")
    listed = [by_id.get(index, (f"[PAD{index}]", TokenType.UNUSED)) for index in range(size)]
    return [token for token, _ in listed], [int(kind) for _, kind in listed]


def _piece_scores(described: Mapping[str, Any], tokens: Sequence[str], merges: Sequence[Any]) -> list[float] | None:
    """llama.cpp's merge score of each token; None for a byte-level tokenizer.

    llama.cpp ranks tokens, `tokenizer.json` ranks pairs. Both are equivalent if all pairs of a token are consecutive.
    """
    if not described["model"].get("byte_fallback") or described.get("normalizer") != _SPACES:
        return None
    ranks: dict[str, int] = {}
    before = None
    for one, other in merges:
        token = one + other
        if token != before and token in ranks:
            return None
        ranks[token] = ranks.get(token, len(ranks))
        before = token
    return [-float(ranks.get(token, len(ranks))) for token in tokens]


_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def _split_name(described: Mapping[str, Any], folder: Path) -> str:
    """llama.cpp's name of the pre-tokenizer."""
    if described["model"].get("type") == "BPE" and not described["model"].get("byte_fallback"):
        before = described.get("pre_tokenizer") or {}
        parts = before.get("pretokenizers", [before])
        kinds = [part.get("type") for part in parts]
        if kinds == ["ByteLevel"] and parts[0].get("use_regex"):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits") and parts[1].get("use_regex"):
            return "smollm"
        pattern = parts[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
        if pattern in _SPLITS:
            return _SPLITS[pattern]
    raise ConfigError(
        f"the tokenizer in {folder} cannot be written as GGUF: supported are those of GPT-2, SmolLM, Qwen2, Llama 3 "
        "and Gemma 3",
        hint="llama.cpp's own convert_hf_to_gguf.py supports more tokenizers",
    )
