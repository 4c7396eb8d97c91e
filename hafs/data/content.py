"""Hash keys of conversations, by which rows are deduplicated, grouped and identified; whitespace does not count."""

import unicodedata
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash

from hafs.chat import TEXT_ROLE, Conversation, Message
from hafs.data.siblings import template_key

PERMUTATIONS = 64
_WINDOW = 16  # bytes of a shingle: two to three words
_SEED = 42
_BLOCK = 1 << 16  # keys per hashing step


class RowKeys(NamedTuple):
    """64-bit hashes of one row; all except `exact` ignore whitespace and normalize Unicode."""

    content: int  # the whole conversation: equal means exact duplicate
    exact: int  # the conversation byte for byte
    opening: int  # the first user turn, or the row's own `split_group`: rows that share it stay in one split
    template: int  # of the first user turn, with numbers and names masked; the opening if it has none
    prompt: int  # everything before the last answer: equal with another answer is a conflict


def normalize(text: str) -> str:
    """Apply NFKC and collapse whitespace; keep the case."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).split())


def keys_of(
    conversation: Conversation, split_group: object = None, rejected: Conversation | None = None
) -> tuple[RowKeys, bytes]:
    """The keys of a row, and its normalized text (without system messages) for near-duplicate detection.

    Args:
        conversation: The row's conversation.
        split_group: The row's own group name; ignored unless it is a non-empty string.
        rejected: The worse answer of a preference row. Such a row never conflicts with another one.
    """
    if rejected is not None:
        ours, said = keys_of(conversation, split_group)
        theirs, worse = keys_of(rejected)
        content, exact = (
            _hash(f"{a:x}\x1e{b:x}") for a, b in ((ours.content, theirs.content), (ours.exact, theirs.exact))
        )
        return RowKeys(content, exact, ours.opening, ours.template, content), said + b" " + worse
    turns = [(_role(message), normalize(_said(message))) for message in conversation]
    parts = [f"{role}\x1f{text}" for role, text in turns]
    content = _hash("\x1e".join(parts))
    exact = _hash("\x1e".join(f"{_role(m)}\x1f{_said(m)}" for m in conversation))
    said = " ".join(text for role, text in turns if role != "system").encode()
    family = group_key(split_group) if isinstance(split_group, str) and split_group else None
    if turns[0][0] == TEXT_ROLE:
        return RowKeys(content, exact, family or content, family or content, content), said
    first = next(text for role, text in turns if role == "user")
    opening = family or _hash(first)
    template = family or template_key(first, opening)
    prompt = _hash("\x1e".join(parts[:-1]))
    return RowKeys(content, exact, opening, template, prompt), said


def _role(message: Message) -> str:
    """The role for comparisons; it distinguishes learned from unlearned answers."""
    return message.role if message.learned else f"{message.role}\x1d"


def _said(message: Message) -> str:
    """The full text of a message, including tool calls, reasoning and tools."""
    if message.plain:
        return message.content
    more = {key: value for key, value in message.as_row().items() if key not in ("role", "content", "weight")}
    return f"{message.content}\n{orjson.dumps(more).decode()}" if more else message.content


def group_key(split_group: str) -> int:
    """The group key of rows with this `split_group`."""
    return _hash(f"split_group\x1f{split_group}")


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def signatures(texts: list[bytes]) -> np.ndarray:
    """MinHash signatures, uint32[N, PERMUTATIONS], of the 16-byte shingles of N normalized texts.

    A shingle starts at each word, each non-ASCII letter, and at content-defined places within long runs, so that text
    without spaces (Chinese, base64) is covered too. MinHash: Broder 1997; the implementation is rensa's.
    """
    pad = b" " * _WINDOW
    ends = np.cumsum([len(text) + _WINDOW for text in texts])
    data = np.frombuffer(pad.join([*texts, b""]), np.uint8)
    starts = _starts(data)
    windows = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)[starts].view("<u8")
    hashes = _mix(windows[:, 0] ^ _mix(windows[:, 1]))
    offsets = np.concatenate(([0], np.searchsorted(starts, ends)))
    import rensa

    minhash: Any = vars(rensa)["RMinHash"]  # its type stubs are empty
    matrix = minhash.digest_matrix_from_flat_token_hashes(hashes, offsets.tolist(), PERMUTATIONS, _SEED)
    return np.array(matrix.to_rows(), np.uint32)


def _starts(data: np.ndarray) -> np.ndarray:
    """Positions of `data`, uint8[T], at which a shingle starts."""
    before = np.concatenate((np.frombuffer(b" ", np.uint8), data[:-1]))
    letter = (before >= 0x80) | ((before | 32) - 97 < 26) | (before - 48 < 10)  # uint8 wraps, so one test is a range
    anchor = ((before * np.uint8(31) + data) & 15) == 0
    start = (data != 32) & (~letter | (data >= 0xC0) | anchor)
    start[-_WINDOW:] = False
    return np.flatnonzero(start)


def _mix(value: np.ndarray) -> np.ndarray:
    """A good 64-bit hash of uint64 values (the finalizer of splitmix64, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def seeded(keys: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each uint64 key: a function of seed and key alone."""
    salt = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    chance = np.empty(len(keys))
    for start in range(0, len(keys), _BLOCK):
        chance[start : start + _BLOCK] = _mix(keys[start : start + _BLOCK] ^ salt) / 2.0**64
    return chance
