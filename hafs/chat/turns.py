"""A conversation as its template writes it: what is asked of the model, and what it is to say, answer by answer.

    asked(i)     the prompt for answer i, which is all that serving sees: the turns before it, and the opening
    said(i)      what the model is to write after it: the answer and its end, as the template writes the last turn

A template may write an answer differently once the talk goes on (thinking is cut out of the past); such an answer is
learned in a sample of its own, in which it is the last turn. `unfold` says which samples those are.
"""

from contextlib import suppress
from dataclasses import replace

from hafs.chat.ending import TAG, Ending, find_call_ending, find_ending, shared_start
from hafs.chat.messages import Conversation, Message
from hafs.chat.rows import THOUGHT
from hafs.chat.template import Template
from hafs.core.errors import HafsError

_LONGEST_OPENING = 200  # characters that a prompt may add to what the template writes before an answer
Parts = list[tuple[str, bool]]
"""Texts to tokenize by themselves, and whether each is supervised."""


class Turns:
    """The turns of conversations under one template."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._ending: Ending | None = None
        self._call_ending: Ending | None = None
        self._shown: dict[tuple[str, ...], str | None] = {}

    @property
    def ending(self) -> Ending:
        """How answers end."""
        if self._ending is None:
            self._ending = find_ending(self.template)
        return self._ending

    @property
    def call_ending(self) -> Ending:
        """How answers end that call a tool."""
        if self._call_ending is None:
            self._call_ending = find_call_ending(self.template)
        return self._call_ending

    @property
    def ends(self) -> list[str]:
        """The control tokens at which generation stops, the usual one first."""
        found = [self.ending.token]
        with suppress(HafsError):  # a template without calls, or whose calls cannot be learned
            found += [self.call_ending.token] if self.template.knows_tools else []
        return list(dict.fromkeys(found))

    @property
    def opens_thinking(self) -> bool:
        """Whether a prompt ends within what the model thinks."""
        asked = Message(role="user", content="hafs7question")
        return bool(_closing(self.template.write((asked,), True).rpartition(asked.content)[2]))

    def asked(self, conversation: Conversation, place: int) -> str:
        """The prompt for the answer at `place`; empty where the conversation begins with it."""
        return self.template.write(conversation[:place], True) if place else ""

    def said(self, conversation: Conversation, place: int, prompt: str) -> str:
        """What the model is to say after the prompt, its end included.

        Raises:
            HafsError: The template writes other turns than in the prompt before the answer.
        """
        calls = conversation[place].calls
        whole, end = self.template.write(conversation[: place + 1]), self.call_ending if calls else self.ending
        body = whole[len(prompt) :] if whole.startswith(prompt) else self._rewritten(prompt, whole, conversation[place])
        if body.endswith(end.tail) and not (calls and end.text):
            return body[: len(body) - len(end.tail)] + end.text + end.added
        stop = len(body)
        for _ in range(end.times):
            stop = body.rfind(end.text, 0, stop)
        if not end.text or stop < 0:
            raise HafsError(f"the chat template does not close turn {place + 1} as it closes other answers",
                            hint="use another chat template")  # fmt: skip
        return body[:stop] + end.text

    def _rewritten(self, prompt: str, whole: str, message: Message) -> str:
        """The answer where the prompt ends with an opening that the template does not write before a given answer."""
        before = shared_start(self.template, prompt, whole, tags=True)
        opening, end = prompt[len(before) :], self.ending.token
        if end in opening:  # the turn before is written differently; the answer still has the header of the prompt
            opening = opening.rpartition(end)[2].lstrip()
            place = whole.rfind(opening, len(before)) if opening else -1
            if place >= 0:
                return whole[place + len(opening) :]
        if end in prompt[len(before) :] or len(opening) > _LONGEST_OPENING:
            raise HafsError("the chat template writes the turns before an answer differently once it is there",
                            hint="split the conversation at this answer, or use another chat template")  # fmt: skip
        rest = whole[len(before) :]
        closing = _closing(opening)
        found = THOUGHT.match(message.content)
        thought = message.reasoning or (found[1].strip() if found else "")
        if closing and thought and thought not in rest:  # the template leaves it out of answers that are given
            return thought + closing + rest
        return rest if rest.lstrip().startswith(closing.strip()) else closing + rest

    def cut(self, conversation: Conversation, generation: bool) -> Parts:
        """The text of a sample, or of a prompt, cut where answers begin and where learned ones end.

        Of a sample, the last learned answer is supervised, and those before it that stand there as they are to be said.
        Of a prompt nothing is refused for its past answers.
        """
        self.refuse_left_out(conversation, generation)
        answers = [i for i, message in enumerate(conversation) if message.role == "assistant"]
        last = max((i for i in answers if conversation[i].learned), default=None)
        text = self.template.write(conversation, generation)
        if last is not None and not generation:
            learned = (prompt := self.asked(conversation, last)) + self.said(conversation, last, prompt)
            text = text if text.startswith(learned) else learned
        parts, done = [], 0
        for i in answers:
            prompt = self.asked(conversation, i)
            if text.startswith(prompt) and len(prompt) >= done:
                stop = len(prompt) + self._learned(conversation, i, prompt, text)
                parts += [(text[done : len(prompt)], False), (text[len(prompt) : stop], True)]
                done = stop
        return [(part, flag) for part, flag in [*parts, (text[done:], False)] if part]

    def _learned(self, conversation: Conversation, place: int, prompt: str, text: str) -> int:
        """Characters of the answer after the prompt, its end included; 0 where the text has it otherwise."""
        if not conversation[place].learned:
            return 0
        try:
            said = self.said(conversation, place, prompt)
        except HafsError:
            return 0
        return len(said) * text.startswith(said, len(prompt))

    def unfold(self, conversation: Conversation) -> list[Conversation]:
        """The samples of a conversation: together they learn each of its answers once, in as few samples as can be."""
        answers = [i for i, m in enumerate(conversation) if m.role == "assistant" and m.learned]
        if len(answers) < 2:
            return [conversation]
        samples: list[Conversation] = []
        texts = {i: (prompt := self.asked(conversation, i)) + self.said(conversation, i, prompt) for i in answers}
        while answers:
            last = answers[-1]
            covered = [i for i in answers if texts[last].startswith(texts[i])]
            answers = [i for i in answers if i not in covered]
            samples.append(_learning(conversation[: last + 1], covered))
        return samples[::-1]

    def refuse_left_out(self, conversation: Conversation, generation: bool) -> None:
        """See that the template shows each of these roles in this order.

        Raises:
            HafsError: It leaves one out.
        """
        roles = (*(m.role + "!" * bool(m.calls) for m in conversation), "?" if generation else "")
        if roles not in self._shown:
            self._shown[roles] = self._left_out(conversation, generation)
        if left_out := self._shown[roles]:
            raise HafsError(f"the chat template leaves out {left_out}, so a model would learn from what it never reads",
                            hint="put it into another turn, or use another chat template")  # fmt: skip

    def _left_out(self, conversation: Conversation, generation: bool) -> str | None:
        marks = [f"hafs7mark{place}x" for place in range(len(conversation))]
        marked = tuple(_marked(message, mark) for message, mark in zip(conversation, marks, strict=True))
        try:
            text = self.template.write(marked, generation)
        except HafsError:
            return None  # the conversation itself will be refused, or holds what the template wants
        missing = [place for place, mark in enumerate(marks) if mark not in text]
        return f"the {conversation[missing[0]].role} message of turn {missing[0] + 1}" if missing else None


def _marked(message: Message, mark: str) -> Message:
    """The message with a mark in the place of what it says."""
    if not message.calls:
        return replace(message, content=mark, reasoning="")
    return replace(message, content="", reasoning="", calls=(replace(message.calls[0], arguments={"mark": mark}),))


def _learning(conversation: Conversation, answers: list[int]) -> Conversation:
    """The conversation, in which of the answers only these are learned."""
    return tuple(
        message if message.role != "assistant" or message.learned == (place in answers)
        else replace(message, learned=place in answers)
        for place, message in enumerate(conversation)
    )  # fmt: skip


def _closing(opening: str) -> str:
    """What closes thinking that a prompt has opened and an answer does without."""
    open_tags: list[str] = []
    for found in TAG.finditer(opening):
        tag = found.group()
        if tag[1] == "/" or "END" in tag:
            open_tags = []
        else:
            open_tags.append(tag)
    tag = next((tag for tag in reversed(open_tags) if "think" in tag.lower() or "reason" in tag.lower()), None)
    if tag is None:
        return ""
    if "START" in tag:
        return tag.replace("START", "END")
    line = "\n" if opening.endswith("\n") else ""
    return f"{line}{tag[0]}/{tag[1:]}{line * 2}"
