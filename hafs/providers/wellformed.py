"""Rejects lone surrogates, which cannot be encoded as UTF-8 and therefore cannot be sent to any host."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from hafs.core.errors import InputError


def refuse_malformed(messages: Sequence[BaseMessage], params: Mapping[str, Any] | None = None) -> None:
    """Raise for messages and parameters with a lone surrogate.

    Args:
        messages: The conversation.
        params: Of the answer: tools, stop, ...

    Raises:
        InputError: One of them has one; the first is named.
    """
    for number, message in enumerate(messages, 1):
        said: Any = message.content
        if not isinstance(said, str) or getattr(message, "tool_calls", None):
            said = message.model_dump()
        _refuse(said, f"message {number} ({message.type})")
    for name, value in (params or {}).items():
        if not isinstance(value, int | float):
            _refuse(value, name)


def refuse_malformed_text(text: str, what: str) -> None:
    """Raise for a text with a lone surrogate.

    Args:
        text: Any.
        what: Its name, for the error.

    Raises:
        InputError: It has one.
    """
    _refuse(text, what)


def _refuse(value: Any, what: str) -> None:
    for text in _texts(value):
        if text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            found = f"U+{ord(text[error.start]):04X} at character {error.start + 1}"
            raise InputError(
                f"{what} is not valid text: a lone surrogate, {found}, cannot be encoded as UTF-8",
                hint="it comes from bytes that are not UTF-8, or from half an emoji; replace or remove it",
            ) from None


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _texts(key)
            yield from _texts(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _texts(child)
