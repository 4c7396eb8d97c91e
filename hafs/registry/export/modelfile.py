"""Ollama's Modelfile: the chat template in Go's template language, stop tokens, parameters, the adapter.

The grammar is that of Ollama's docs/modelfile.mdx and parser/parser.go (August 2026): paths are relative to the
Modelfile, text between three quotes is taken as it is, several `PARAMETER stop` add up. The template is a Go template
over `.Messages` (docs/template.mdx), to which Ollama appends nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hafs.chat import Conversation, Message, end_tokens, render
from hafs.chat.ending import find_ending
from hafs.chat.template import Template
from hafs.config.check import did_you_mean
from hafs.core.errors import ConfigError
from hafs.registry.export.golden import GOLDEN

ROLES = ("system", "user", "assistant")
PARAMETERS: Mapping[str, Any] = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict",
                     "draft_num_predict", "top_k", "repeat_last_n"), int),
    **dict.fromkeys(("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
                     "frequency_penalty"), int | float),
    "use_mmap": bool,
}  # fmt: skip
"""Ollama's options beside `stop`, with their types (api/types.go); `ollama create` rejects any other."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A chat template that puts literal text around each message."""

    start: str
    """The text before the first message."""
    unled: str
    """The text instead of a system message, if there is none."""
    around: Mapping[str, tuple[str, str]]
    """By role: the text before and after its message."""
    due: str
    """The text that begins an answer."""

    def text(self, prompt: Conversation) -> str:
        """The text that the template produces; the Go template produces the same."""
        parts = [self.start, "" if prompt[0].role == "system" else self.unled]
        parts += [f"{self.around[m.role][0]}{m.content}{self.around[m.role][1]}" for m in prompt]
        return "".join([*parts, self.due])

    def go(self) -> str:
        """The template in Go's language, without any trimming."""
        cases = "".join(
            f'{{{{ {"if" if i == 0 else "else if"} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
            for i, (role, (before, after)) in enumerate(self.around.items())
        )
        unled = f'{{{{ if ne (index .Messages 0).Role "system" }}}}{self.unled}{{{{ end }}}}' if self.unled else ""
        return f"{self.start}{unled}{{{{ range .Messages }}}}{cases}{{{{ end }}}}{{{{ end }}}}{self.due}"


def turns(tokenizer: Any) -> Turns:
    """The tokenizer's template as turns.

    Raises:
        ConfigError: The template does more than add text around messages.
    """
    template, marks = Template(tokenizer), {role: f"hafs7{role}x" for role in ROLES}
    of = {role: Message(role=role, content=mark) for role, mark in marks.items()}
    asked = (of["system"], of["user"], of["assistant"], of["user"])
    whole = template.write(asked, True)
    pieces, rest = [], whole
    for message in asked:
        before, found, rest = rest.partition(message.content)
        if not found:
            raise _too_much()
        pieces.append(before)
    # system | between | user | between | assistant | between | user | after
    end = find_ending(template).text
    after_assistant, before_user = _cut(pieces[3], pieces[1], end)
    after_system = pieces[1][: len(pieces[1]) - len(before_user)]
    user_end = _user_end(rest, after_system, after_assistant)
    due, before_assistant = rest[len(user_end) :], pieces[2][len(user_end) :]
    bare = template.write((of["user"],), True)
    start, unled = _beginnings(pieces[0], bare.partition(marks["user"])[0], before_user)
    found = Turns(
        start=start, unled=unled, due=due,
        around={"system": (pieces[0][len(start) :], after_system), "user": (before_user, user_end),
                "assistant": (before_assistant, after_assistant)},
    )  # fmt: skip
    for prompt in GOLDEN:
        ids = tokenizer(found.text(prompt), add_special_tokens=False)["input_ids"]
        if ids != list(render(tokenizer, prompt, for_generation=True).tokens):
            raise _too_much()
    return found


def _cut(between: str, other: str, end: str) -> tuple[str, str]:
    """The end of an answer and the beginning of a question; `other` ends with the same beginning."""
    at = between.find(end)
    if at < 0:
        raise _too_much()
    shared = 0
    while shared < min(len(between) - at - len(end), len(other)) and between[-1 - shared] == other[-1 - shared]:
        shared += 1
    shared = len(between[len(between) - shared :].lstrip("\n"))
    return between[: len(between) - shared], between[len(between) - shared :]


def _user_end(rest: str, *others: str) -> str:
    """The end of a question: that of another role if the text continues with it, else the rest of its line."""
    for other in others:
        if other and rest.startswith(other):
            return other
    head, newline, _ = rest.partition("\n")
    return head + newline


def _beginnings(led: str, bare: str, before_user: str) -> tuple[str, str]:
    """The text before the first message, and the text instead of a missing system message."""
    if not bare.endswith(before_user):
        raise _too_much()
    unled = bare[: len(bare) - len(before_user)]
    if unled and led.startswith(unled):
        return unled, ""
    return "", unled


def _too_much() -> ConfigError:
    return ConfigError(
        "the chat template does more than add text around messages, so it cannot be converted for Ollama",
        hint="format=gguf keeps the template unchanged",
    )


def modelfile(tokenizer: Any, *, model: str, adapter: str | None, parameters: Mapping[str, Any]) -> str:
    """The text of a Modelfile.

    Args:
        tokenizer: Provides the template and the stop tokens.
        model: The model's file, next to the Modelfile.
        adapter: The adapter's file; None: it is merged into the model.
        parameters: By Ollama's names; `stop` adds to the end tokens.

    Raises:
        ConfigError: The template cannot be written in Go's template language, or Ollama does not have such a parameter.
    """
    given = dict(parameters)
    added = given.pop("stop", [])
    ends = tokenizer.convert_ids_to_tokens(end_tokens(tokenizer))
    stops = dict.fromkeys([*ends, *([added] if isinstance(added, str) else added)])
    lines = [f"FROM ./{model}", *([f"ADAPTER ./{adapter}"] if adapter else [])]
    lines.append(f'TEMPLATE """{turns(tokenizer).go()}"""')
    lines += [f"PARAMETER {key} {_value(key, value)}" for key, value in given.items()]
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    return "\n".join(lines) + "\n"


def _value(key: str, value: Any) -> str:
    kind = PARAMETERS.get(key)
    if kind is None:
        raise ConfigError(f"Ollama has no parameter {key!r}", hint=did_you_mean(key, ["stop", *PARAMETERS]))
    fits = isinstance(value, bool) if kind is bool else isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        wanted = {bool: "true or false", int: "a whole number"}.get(kind, "a number")
        raise ConfigError(f"ollama.parameters.{key} is {value!r}, expected {wanted}")
    return str(value).lower()
