"""Conversations whose token ids every export must give as training did."""

from hafs.chat import Conversation, Message


def _of(*turns: tuple[str, str]) -> Conversation:
    return tuple(Message(role=role, content=content) for role, content in turns)


GOLDEN = (
    _of(("user", "What does JSL do?")),
    _of(("system", "You write 65816 assembly."), ("user", "Clear A.")),
    _of(("user", "Hi"), ("assistant", "Hello."), ("user", "REP #$30 ; what now?")),
    _of(("system", "Short."), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")),
    _of(("user", "LDA.w #$0F00\n\tSTA $7E0010,x ; naïve 你好 \u200b 🗡️\r\n  end")),
    _of(("user", 'don\'t 12345 3.14 0x7F {"a": [1, 2]} <tag> `code`\n```asm\nrtl\n```')),
)
"""Each ends where an answer is due."""
