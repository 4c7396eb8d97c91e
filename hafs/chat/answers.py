"""Prompts and completions of a conversation, as its chat template writes them.

    prompt(i)        everything that serving sends for answer i: the turns before it and the generation prompt
    completion(i)    what the model should generate after it: the answer and its end token

Some templates rewrite an answer once the conversation continues; many remove the reasoning of past answers. Such an
answer needs its own sample, in which it is the last turn. `unfold` returns these samples.
"""

import re
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from hafs.chat.ending import TAG, AnswerEnding, find_call_ending, find_ending, shared_start
from hafs.chat.messages import Conversation, Message
from hafs.chat.template import Template
from hafs.chat.template_messages import THOUGHT
from hafs.core.errors import HafsError

_LONGEST_OPENING = 200  # characters that a generation prompt may add to what the template writes before an answer
_STRANGE = "\ue0f3"  # an answer that no opening starts with
Parts = list[tuple[str, bool]]
"""Texts that are tokenized separately, and whether each is supervised."""


class AnswerCutter:
    """Cuts conversations into prompts and completions, for one chat template."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._ending: AnswerEnding | None = None
        self._call_ending: AnswerEnding | None = None
        self._omissions: dict[tuple[str, ...], str | None] = {}

    @property
    def ending(self) -> AnswerEnding:
        """How the template ends answers."""
        if self._ending is None:
            self._ending = find_ending(self.template)
        return self._ending

    @property
    def call_ending(self) -> AnswerEnding:
        """How the template ends answers that call a tool."""
        if self._call_ending is None:
            self._call_ending = find_call_ending(self.template)
        return self._call_ending

    @property
    def ends(self) -> list[str]:
        """The control tokens that stop generation, the usual one first."""
        found = [self.ending.token]
        with suppress(HafsError):  # the template renders no tool calls, or their end is not a control token
            found += [self.call_ending.token] if self.template.knows_tools else []
        return list(dict.fromkeys(found))

    @cached_property
    def _stops(self) -> re.Pattern[str]:
        """Matches the control tokens that stop generation."""
        found = dict.fromkeys([*self.ends, self.template.tokenizer.eos_token or ""])
        return re.compile("|".join(map(re.escape, filter(None, found))))

    @property
    def opens_thinking(self) -> bool:
        """Whether the generation prompt opens a reasoning block."""
        asked = Message(role="user", content="hafs7question")
        return bool(_closing(self.template.write((asked,), True).rpartition(asked.content)[2]))

    def prompt(self, conversation: Conversation, place: int) -> str:
        """The prompt for the answer at `place`; empty if the conversation starts with that answer."""
        return self.template.write(conversation[:place], True) if place else ""

    def completion(self, conversation: Conversation, place: int, prompt: str) -> str:
        """What the model should generate after the prompt, including the end of the answer.

        Raises:
            HafsError: The template rewrites the turns before the answer, or closes this answer in another way.
        """
        calls = conversation[place].calls
        whole, end = self.template.write(conversation[: place + 1]), self.call_ending if calls else self.ending
        body = (
            whole[len(prompt) :]
            if whole.startswith(prompt)
            else self._body_after_opening(prompt, whole, conversation[: place + 1])
        )
        said = self._closed(body, end, place, ends_with_tail=body.endswith(end.tail) and not (calls and end.text))
        stop = self._stops.search(said)
        if stop and stop.end() < len(said):
            raise HafsError(f"the chat template writes {stop.group()!r}, which ends answers, inside turn {place + 1}",
                            hint="leave out its reasoning or tool calls, or use another chat template")  # fmt: skip
        return said

    def _closed(self, body: str, end: AnswerEnding, place: int, *, ends_with_tail: bool) -> str:
        """The answer up to its end, without what the template writes after it."""
        if ends_with_tail:
            return body[: len(body) - len(end.tail)] + end.text + end.added
        stop = len(body)
        for _ in range(end.times):
            stop = body.rfind(end.text, 0, stop)
        if not end.text or stop < 0:
            raise HafsError(f"the chat template does not close turn {place + 1} as it closes other answers",
                            hint="use another chat template")  # fmt: skip
        return body[:stop] + end.text

    def _body_after_opening(self, prompt: str, whole: str, answered: Conversation) -> str:
        """The completion if the generation prompt differs from what the template writes before a given answer."""
        message, before = answered[-1], self._before_answer(prompt, whole, answered)
        opening, end = prompt[len(before) :], self.ending.token
        if end in opening:  # the template rewrote the previous turn; the header before the answer is the same
            opening = opening.rpartition(end)[2].lstrip()
            place = whole.rfind(opening, max(0, len(before) - len(opening))) if opening else -1
            if place >= 0:
                return whole[place + len(opening) :]
        if end in prompt[len(before) :] or len(opening) > _LONGEST_OPENING:
            raise HafsError("the chat template rewrites the turns before an answer once the answer is there",
                            hint="split the conversation at this answer, or use another chat template")  # fmt: skip
        rest = whole[len(before) :]
        closing = _closing(opening)
        found = THOUGHT.match(message.content)
        thought = message.reasoning or (found[1].strip() if found else "")
        if closing and thought and thought not in rest:  # the template removes reasoning from every answer
            return thought + closing + rest
        return rest if rest.lstrip().startswith(closing.strip()) else closing + rest

    def _before_answer(self, prompt: str, whole: str, answered: Conversation) -> str:
        """What prompt and conversation share, without the start of an answer that resembles the opening."""
        before, said = shared_start(self.template, prompt, whole, tags=True), answered[-1]
        for text in (said.content.lstrip(), said.reasoning.lstrip()):
            if _ends_with_start(before, text[:_LONGEST_OPENING]):
                other = replace(said, content=said.content and _STRANGE, reasoning=said.reasoning and _STRANGE)
                marked = self.template.write((*answered[:-1], other))
                return before[: len(shared_start(self.template, prompt, marked, tags=True))]
        return before

    def cut(self, conversation: Conversation, generation: bool) -> Parts:
        """The text of a sample or of a prompt, cut where answers start and where learned answers end.

        In a sample, the last learned answer is supervised, and so is each earlier one that the template has not
        rewritten. In a prompt, past answers are not checked.
        """
        self.refuse_omitted_turns(conversation, generation)
        answers = [i for i, message in enumerate(conversation) if message.role == "assistant"]
        last = max((i for i in answers if conversation[i].learned), default=None)
        text = self.template.write(conversation, generation)
        if last is not None and not generation:
            learned = (prompt := self.prompt(conversation, last)) + self.completion(conversation, last, prompt)
            text = text if text.startswith(learned) else learned
        parts, done = [], 0
        for i in answers:
            prompt = self.prompt(conversation, i)
            if text.startswith(prompt) and len(prompt) >= done:
                stop = len(prompt) + self._learned(conversation, i, prompt, text)
                parts += [(text[done : len(prompt)], False), (text[len(prompt) : stop], True)]
                done = stop
        return [(part, flag) for part, flag in [*parts, (text[done:], False)] if part]

    def _learned(self, conversation: Conversation, place: int, prompt: str, text: str) -> int:
        """Length in characters of the answer after the prompt, with its end; 0 if the text holds something else."""
        if not conversation[place].learned:
            return 0
        try:
            said = self.completion(conversation, place, prompt)
        except HafsError:
            return 0
        return len(said) * text.startswith(said, len(prompt))

    def unfold(self, conversation: Conversation) -> list[Conversation]:
        """The fewest samples that together supervise each learned answer exactly once."""
        answers = [i for i, m in enumerate(conversation) if m.role == "assistant" and m.learned]
        if len(answers) < 2:
            return [conversation]
        samples: list[Conversation] = []
        texts = {
            i: (prompt := self.prompt(conversation, i)) + self.completion(conversation, i, prompt) for i in answers
        }
        while answers:
            last = answers[-1]
            covered = [i for i in answers if texts[last].startswith(texts[i])]
            answers = [i for i in answers if i not in covered]
            samples.append(_learning(conversation[: last + 1], covered))
        return samples[::-1]

    def refuse_omitted_turns(self, conversation: Conversation, generation: bool) -> None:
        """Check that the template renders each turn of this sequence of roles.

        Raises:
            HafsError: The template omits a turn.
        """
        roles = (*(m.role + "!" * len(m.calls) for m in conversation), "?" if generation else "")
        if roles not in self._omissions:
            self._omissions[roles] = self._omitted_turn(conversation, generation)
        if left_out := self._omissions[roles]:
            fact = f"the chat template leaves out {left_out}, so the model would never see it"
            raise HafsError(fact, hint="move the text into another turn, or use another chat template")

    def _prompted(self, conversation: Conversation, place: int) -> str:
        try:
            return self.prompt(conversation, place)
        except HafsError:
            return ""

    def _omitted_turn(self, conversation: Conversation, generation: bool) -> str | None:
        marks = [f"hafs7mark{place}x" for place in range(len(conversation))]
        marked = tuple(_marked(message, mark) for message, mark in zip(conversation, marks, strict=True))
        try:
            text = self.template.write(marked, generation)
        except HafsError:
            return None  # the template rejects the probe; rendering the conversation itself decides
        times = [max(1, len(message.calls)) for message in conversation]
        missing = [place for place, mark in enumerate(marks) if text.count(mark) < times[place]]
        last = max((i for i, m in enumerate(conversation) if m.role == "assistant" and m.learned), default=0)
        if missing and last and not generation:  # training takes the prompt, which may hold a turn that the whole lacks
            prompt = self._prompted(marked, last)
            missing = [place for place in missing if place >= last or prompt.count(marks[place]) < times[place]]
        if not missing:
            return None
        place = missing[0]
        what = "a tool call" if marks[place] in text else f"the {conversation[place].role} message"
        return f"{what} of turn {place + 1}"


def _marked(message: Message, mark: str) -> Message:
    """The message with its content replaced by a mark."""
    if not message.calls:
        return replace(message, content=mark, reasoning="")
    calls = tuple(replace(call, arguments={"mark": mark}) for call in message.calls)
    return replace(message, content="", reasoning="", calls=calls)


def _ends_with_start(before: str, text: str) -> bool:
    """Whether `before` ends with the first characters of `text`."""
    places = (found.end() for found in re.finditer(re.escape(before[-1:]), text) if found.group())
    return any(before.endswith(text[:size]) for size in places)


def _learning(conversation: Conversation, answers: list[int]) -> Conversation:
    """The conversation with only these answers marked as learned."""
    return tuple(
        message if message.role != "assistant" or message.learned == (place in answers)
        else replace(message, learned=place in answers)
        for place, message in enumerate(conversation)
    )  # fmt: skip


def _closing(opening: str) -> str:
    """The text that closes a reasoning block that the generation prompt opened; empty if there is none."""
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
