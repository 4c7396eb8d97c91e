"""An answer as a sequence of blocks (reasoning, text, tool calls), for APIs that number and close them."""

from collections.abc import Iterator
from dataclasses import dataclass
from json import dumps
from typing import Any, Literal, NamedTuple

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from hafs.providers.reply import thinking_in

Kind = Literal["thinking", "text", "call"]


@dataclass(kw_only=True)
class Block:
    """A part of an answer."""

    kind: Kind
    number: int
    """From 0."""
    text: str = ""
    """The text so far; for a call, its arguments as JSON."""
    call_id: str = ""
    name: str = ""
    """Of the tool."""
    index: int | None = None
    """Of the call in the host's stream."""


class Change(NamedTuple):
    """What happens to a block."""

    what: Literal["open", "more", "close"]
    block: Block
    text: str = ""
    """Of `more`."""


class Blocks:
    """Splits the chunks of an answer into blocks; one is open at a time."""

    def __init__(self) -> None:
        self.all: list[Block] = []
        self._open = False

    def take(self, message: Any) -> Iterator[Change]:
        """The changes that a chunk makes."""
        if thinking := thinking_in(message):
            yield from self._add("thinking", thinking)
        if text := str(message.text):
            yield from self._add("text", text)
        for part in getattr(message, "tool_call_chunks", None) or []:
            index = part["index"] or 0
            yield from self._add("call", part["args"] or "", index, part["id"] or "", part["name"] or "")

    def close(self) -> Iterator[Change]:
        """Close the open block."""
        if self._open:
            self._open = False
            yield Change("close", self.all[-1])

    def _add(
        self, kind: Kind, text: str, index: int | None = None, call_id: str = "", name: str = ""
    ) -> Iterator[Change]:
        last = self.all[-1] if self._open else None
        if last is None or (last.kind, last.index) != (kind, index):
            yield from self.close()
            last = Block(kind=kind, number=len(self.all), index=index, call_id=call_id, name=name)
            self.all.append(last)
            self._open = True
            yield Change("open", last)
        if text:
            last.text += text
            yield Change("more", last, text)


def blocks_of(message: Any) -> list[Block]:
    """The blocks of a complete answer."""
    calls = [
        tool_call_chunk(name=call["name"], args=dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(message.tool_calls)
    ]
    blocks = Blocks()
    whole = AIMessageChunk(content=message.content, additional_kwargs=message.additional_kwargs, tool_call_chunks=calls)
    for _ in blocks.take(whole):
        pass
    return blocks.all
