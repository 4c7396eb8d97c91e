"""A tokenizer's chat template: what it writes, how it closes an answer, and where its text is cut."""

import re
import weakref
from typing import Any

from hafs.errors import HafsError
from hafs.text.messages import Conversation, Message

_LOOKS_INSIDE = re.compile(
    r"\.\s*(l?r?split|replace|startswith|endswith|lower|upper)\s*\(|\bin\s+(message|content)\b|\bcontent\["
)


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """The tokenizer's special tokens and their ids."""
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {text: tokenizer.convert_tokens_to_ids(text) for text in tokenizer.all_special_tokens}


class Template:
    """The template of one tokenizer, which it refers to weakly.

    Attributes:
        control: The control tokens and their ids.
        control_pattern: Matches any of them, the longest first.
        literal: Whether the template puts messages down without looking into them.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = weakref.proxy(tokenizer)
        self.control = control_tokens(tokenizer)
        longest_first = sorted(self.control, key=len, reverse=True)
        self.control_pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.literal = not _LOOKS_INSIDE.search(str(tokenizer.chat_template))
        self._end: str | None = None

    def write(self, conversation: Conversation, generation: bool = False) -> str:
        """The text of a conversation, or of a prompt where `generation` asks for the next answer."""
        messages = [{"role": message.role, "content": message.content} for message in conversation]
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
        except Exception as error:  # templates raise what they like: jinja2's errors, ValueError, TypeError
            roles = ", ".join(message.role for message in conversation)
            hint = "reorder the roles, or choose a model whose chat template takes them"
            raise HafsError(f"the chat template refuses a conversation of ({roles}): {error}", hint=hint) from error

    @property
    def end_text(self) -> str:
        """What closes an answer in the template, up to and including its control token: `<|im_end|>`."""
        if self._end is None:
            mark = "hafs7answer"
            asked = (Message(role="user", content="hafs7question"), Message(role="assistant", content=mark))
            after = self.write(asked).rpartition(mark)[2]
            found = self.control_pattern.search(after)
            if not found or after[: found.start()].strip():
                raise HafsError(f"the chat template ends answers with {after[:20]!r}, which is no control token",
                                hint="use an Instruct model, whose template closes every answer")  # fmt: skip
            self._end = after[: found.end()]
        return self._end

    @property
    def end_id(self) -> int:
        """The control token in `end_text`."""
        return self.control[self.control_pattern.findall(self.end_text)[-1]]

    def cut(self, conversation: Conversation, generation: bool) -> list[tuple[str, bool]]:
        """The real template's text, cut at supervised borders: the reference that plans are checked against."""
        whole, done, parts = self.write(conversation, generation), 0, []
        for index, message in enumerate(conversation):
            if message.role != "assistant":
                continue
            prompt = self.write(conversation[:index], True) if index else whole[: whole.find(message.content.strip())]
            answered = self.write(conversation[: index + 1])
            answer = answered[len(prompt) :]
            stop = len(prompt) + answer.rfind(self.end_text) + len(self.end_text)
            if not (whole.startswith(prompt) and answered.startswith(prompt) and whole[:stop] == answered[:stop]
                    and self.end_text in answer):  # fmt: skip
                raise HafsError(f"the chat template writes turn {index + 1} differently once the conversation goes on, "
                                "so training and serving would see different prompts",
                                hint="split the conversation at this turn, or use another chat template")  # fmt: skip
            parts += [(whole[done : len(prompt)], False), (whole[len(prompt) : stop], message.learned)]
            done = stop
        return [(text, flag) for text, flag in [*parts, (whole[done:], False)] if text]
