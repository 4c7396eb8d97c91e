"""How a chat template closes an answer: probed with an answer that is the last turn, and with one that is not."""

import re
from dataclasses import dataclass, replace

from hafs.chat.messages import Call, Conversation, Message
from hafs.chat.rows import TOOL
from hafs.chat.template import Template
from hafs.core.errors import HafsError

TAG = re.compile(r"</?[\w|\uff5c:.\u2581-]+>|\[/?[A-Z_]+\]")
_LONGEST_TAG = 100  # characters
_ASKED, _SAID, _NEXT = "hafs7question", "hafs7answer", "hafs7next"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What stands after an answer."""

    tail: str
    """All that the template writes after an answer with which the conversation ends."""
    text: str
    """How much of that ends the answer: `<|im_end|>` of `<|im_end|>` and a newline."""
    added: str
    """What is put after an answer that the template leaves open: what closes it once the talk goes on, or EOS."""
    token: str
    """The control token at which generation stops."""
    times: int = 1
    """How often it stands after an answer with which the conversation ends; the first time ends the answer."""


def find_ending(template: Template) -> Ending:
    """Probe a template.

    Raises:
        HafsError: Answers end with text, or with a token that also stands before them.
    """
    asked, said = Message(role="user", content=_ASKED), Message(role="assistant", content=_SAID)
    try:
        last = template.write((asked, said))
    except HafsError:
        asked = replace(asked, tools=(TOOL,))  # some templates take no conversation without
        last = template.write((asked, said))
    if _SAID not in last:
        raise HafsError("the chat template leaves out what the assistant says", hint="use another chat template")
    before, _, tail = last.rpartition(_SAID)
    following = _following(template, (asked, said))
    shared = shared_start(template, tail, following) if following is not None else tail
    text = _closed(template, shared) or (_first(template, tail) if following is not None else "")
    added = "" if text else _opened(template, tail, following)
    token = template.control_pattern.findall(text + added)[-1]
    opening = before[_alike(before, template.write((asked,), True)) :]
    if token in template.control_pattern.findall(opening):
        raise HafsError(f"the chat template ends answers with {token!r}, which also opens them",
                        hint="use another chat template")  # fmt: skip
    return Ending(tail=tail, text=text, added=added, token=token)


def find_call_ending(template: Template) -> Ending:
    """How the template closes an answer that calls a tool; its `tail` is empty, for it begins with the call's own end.

    Raises:
        HafsError: Such an answer ends with no control token.
    """
    asked = Message(role="user", content=_ASKED, tools=(TOOL,))
    call = Call(name="hafs7tool", arguments={"hafs7key": _SAID}, id="call_hafs7call")
    said = Message(role="assistant", content="", calls=(call,))
    result = Message(role="tool", content=_NEXT, name=call.name, call_id=call.id)
    tail = template.write((asked, said)).rpartition(_SAID)[2]
    following = template.write((asked, said, result)).rpartition(_NEXT)[0].rpartition(_SAID)[2]
    shared = template.control_pattern.findall(shared_start(template, tail, following))
    own, later = template.control_pattern.findall(tail), template.control_pattern.findall(following)
    eos = template.tokenizer.eos_token
    for tokens in (shared, [token for token in own if token in later]):
        if tokens:
            token = eos if eos in tokens else tokens[-1]
            return Ending(tail="", text=token, added="", token=token, times=own.count(token))
    if own or not (later or eos):
        raise HafsError("the chat template ends an answer that calls a tool with no control token",
                        hint="leave the tools out, or use another chat template")  # fmt: skip
    token = later[0] if later else eos
    space = re.search(r"\s*$", following.partition(token)[0]) if later and not tail.endswith("\n") else None
    return Ending(tail="", text="", added=(space[0] if space else "") + token, token=token)


def _following(template: Template, answered: Conversation) -> str | None:
    """What stands between an answer and the next question; None where the template takes one question alone."""
    try:
        goes_on = template.write((*answered, Message(role="user", content=_NEXT)))
    except HafsError:
        return None
    if _SAID not in goes_on or _NEXT not in goes_on:
        return None
    return goes_on.rpartition(_NEXT)[0].rpartition(_SAID)[2]


def _alike(one: str, other: str) -> int:
    """With how many characters both texts begin."""
    if one.startswith(other) or other.startswith(one):
        return min(len(one), len(other))
    return next(place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def shared_start(template: Template, one: str, other: str, *, tags: bool = False) -> str:
    """What two texts begin with, without a part of a control token, nor of a tag where `tags` says so."""
    length = _alike(one, other)
    for text in (one, other):
        for pattern in (template.control_pattern, TAG)[: 1 + tags]:
            for found in pattern.finditer(text, max(0, length - _LONGEST_TAG)):
                if found.start() < length < found.end():
                    length = found.start()
    return one[:length]


def _closed(template: Template, shared: str) -> str:
    """Up to EOS, else to the last control token; empty where there is none, or text before the first."""
    found = list(template.control_pattern.finditer(shared))
    if not found or shared[: found[0].start()].strip():
        return ""
    eos = next((each for each in found if each.group() == template.tokenizer.eos_token), found[-1])
    return shared[: eos.end()]


def _first(template: Template, text: str) -> str:
    """Up to the first control token; empty where there is none, or text before it."""
    found = template.control_pattern.search(text)
    return text[: found.end()] if found and not text[: found.start()].strip() else ""


def _opened(template: Template, tail: str, following: str | None) -> str:
    if tail.strip():
        raise HafsError(f"the chat template ends answers with {tail[:20]!r}, which is no control token",
                        hint="use an Instruct model, whose template closes every answer")  # fmt: skip
    added = _first(template, following or "") or template.tokenizer.eos_token
    if not added:
        raise HafsError("the chat template leaves answers open, and the tokenizer has no end-of-sequence token",
                        hint="use an Instruct model, whose template closes every answer")  # fmt: skip
    return added
