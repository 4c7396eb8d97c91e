"""How a chat template ends an answer, found by probing it with an answer as the last turn and with a turn after it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.template import Template
from hafs.chat.template_messages import TOOL
from hafs.core.errors import HafsError

TAG = re.compile(r"</?[\w|\uff5c:.\u2581-]+>|\[/?[A-Z_]+\]")
_LONGEST_TAG = 100  # characters
_ASKED, _SAID, _NEXT = "hafs7question", "hafs7answer", "hafs7next"


@dataclass(frozen=True, kw_only=True)
class AnswerEnding:
    """The text that follows an answer."""

    tail: str
    """Everything that the template writes after the last answer of a conversation."""
    text: str
    """The part of `tail` that ends the answer, such as `<|im_end|>` without the newline after it."""
    added: str
    """Text added if the template does not close the last answer: what closes it in a longer conversation, or EOS."""
    token: str
    """The control token that stops generation."""
    times: int = 1
    """How often `token` occurs in `tail`; the first occurrence ends the answer."""


def find_ending(template: Template) -> AnswerEnding:
    """Probe how a template ends answers.

    Raises:
        HafsError: Answers end with plain text, or with a token that also precedes them.
    """
    asked, said = Message(role="user", content=_ASKED), Message(role="assistant", content=_SAID)
    try:
        last = template.write((asked, said))
    except HafsError:
        asked = replace(asked, tools=(TOOL,))  # some templates require tools
        last = template.write((asked, said))
    if _SAID not in last:
        raise HafsError("the chat template leaves out what the assistant says", hint="use another chat template")
    before, _, tail = last.rpartition(_SAID)
    following = _following(template, (asked, said))
    shared = shared_start(template, tail, following) if following is not None else tail
    text = _closed(template, shared, _openers(template, asked))
    if not text and following is not None:
        text = _first(template, tail)
    added = "" if text else _opened(template, tail, following)
    token = template.control_pattern.findall(text + added)[-1]
    opening = before[_alike(before, template.write((asked,), True)) :]
    if token in template.control_pattern.findall(opening):
        raise HafsError(f"the chat template ends answers with {token!r}, which also opens them",
                        hint="use another chat template")  # fmt: skip
    return AnswerEnding(tail=tail, text=text, added=added, token=token)


def find_call_ending(template: Template) -> AnswerEnding:
    """Probe how a template ends an answer that calls a tool; `tail` is empty, because it depends on the arguments.

    Raises:
        HafsError: Such an answer ends without a control token.
    """
    asked = Message(role="user", content=_ASKED, tools=(TOOL,))
    call = Call(name="hafs7tool", arguments={"hafs7key": _SAID}, id="call_hafs7call")
    said = Message(role="assistant", content="", calls=(call,))
    result = Message(role="tool", content=_NEXT, name=call.name, call_id=call.id)
    tail = template.write((asked, said)).rpartition(_SAID)[2]
    following = template.write((asked, said, result)).rpartition(_NEXT)[0].rpartition(_SAID)[2]
    closing = _between_calls(template, asked, said)
    found = template.control_pattern.findall
    own, later = ([token for token in found(text) if token not in closing] for text in (tail, following))
    shared = [token for token in found(shared_start(template, tail, following)) if token not in closing]
    _drop_openers(shared, _openers(template, asked))
    eos = template.tokenizer.eos_token
    for tokens in (shared, [token for token in own if token in later]):
        if tokens:
            token = eos if eos in tokens else tokens[-1]
            return AnswerEnding(tail="", text=token, added="", token=token, times=own.count(token))
    if own or not (later or eos):
        raise HafsError("the chat template ends tool calls without a control token",
                        hint="remove the tools, or use another chat template")  # fmt: skip
    token = later[0] if later else eos
    space = re.search(r"\s*$", following.partition(token)[0]) if later and not tail.endswith("\n") else None
    return AnswerEnding(tail="", text="", added=(space[0] if space else "") + token, token=token)


def _following(template: Template, answered: Conversation) -> str | None:
    """The text between an answer and the next question; None if the template accepts only one question."""
    try:
        goes_on = template.write((*answered, Message(role="user", content=_NEXT)))
    except HafsError:
        return None
    if _SAID not in goes_on or _NEXT not in goes_on:
        return None
    return goes_on.rpartition(_NEXT)[0].rpartition(_SAID)[2]


def _alike(one: str, other: str) -> int:
    """Length of the common prefix in characters."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # bisection: comparing slices is a thousand times faster than a loop over characters
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_start(template: Template, one: str, other: str, *, tags: bool = False) -> str:
    """The common prefix of two texts, cut back so that it splits no control token (and no tag, if `tags` is set)."""
    length = _alike(one, other)
    for text in (one, other):
        for pattern in (template.control_pattern, TAG)[: 1 + tags]:
            for found in pattern.finditer(text, max(0, length - _LONGEST_TAG)):
                if found.start() < length < found.end():
                    length = found.start()
    return one[:length]


def _closed(template: Template, shared: str, openers: Sequence[str]) -> str:
    """The text up to EOS, else up to the last control token; empty if other text precedes the first one.

    Control tokens at its end that open turns belong to what follows: Command R+ writes another turn after the answer.
    """
    found = list(template.control_pattern.finditer(shared))
    if not found or shared[: found[0].start()].strip():
        return ""
    words = [each.group() for each in found]
    _drop_openers(words, openers)
    eos = template.tokenizer.eos_token
    return shared[: found[words.index(eos) if eos in words else len(words) - 1].end()]


def _drop_openers(tokens: list[str], openers: Sequence[str]) -> None:
    """Remove tokens from the end of a list that open turns; one is left."""
    while len(tokens) > 1 and tokens[-1] in openers:
        tokens.pop()


def _openers(template: Template, asked: Message) -> list[str]:
    """The control tokens of a generation prompt, without those that close the question."""
    prompt, question = template.write((asked,), True), template.write((asked,))
    added = template.control_pattern.findall(prompt[_alike(prompt, question) :])
    return added or template.control_pattern.findall(prompt.rpartition(_ASKED)[2])[1:]


def _between_calls(template: Template, asked: Message, said: Message) -> list[str]:
    """The control tokens between two calls of one answer, which therefore do not end it."""
    second = replace(said.calls[0], arguments={"hafs7key": _NEXT}, id="call_hafs7more")
    try:
        twice = template.write((asked, replace(said, calls=(*said.calls, second))))
    except HafsError:  # the template accepts one call per answer
        return []
    between = twice.rpartition(_SAID)[2].partition(_NEXT)
    return template.control_pattern.findall(between[0]) if between[1] else []


def _first(template: Template, text: str) -> str:
    """The text up to the first control token; empty if there is none or other text precedes it."""
    found = template.control_pattern.search(text)
    return text[: found.end()] if found and not text[: found.start()].strip() else ""


def _opened(template: Template, tail: str, following: str | None) -> str:
    if tail.strip():
        raise HafsError(f"the chat template ends answers with {tail[:20]!r}, which is not a control token",
                        hint="use an Instruct model, whose template closes every answer")  # fmt: skip
    added = _first(template, following or "") or template.tokenizer.eos_token
    if not added:
        raise HafsError("the chat template does not close answers, and the tokenizer has no end-of-sequence token",
                        hint="use an Instruct model, whose template closes every answer")  # fmt: skip
    return added
