"""Whether a chat template is trained and served with the same ids, and learns the answers and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hafs.chat import Call, Conversation, Message, call_syntax, end_tokens, parse, render, unfold
from hafs.core.errors import HafsError
from hafs.modeling.arguments import fixed

_CONTROL = re.compile(
    r"<[|\uff5c][^<>\s'\"]{1,40}[|\uff5c]>|<\w{1,30}\|>|<\|\w{1,30}>"
    r"|<(?:bos|eos|sep|BOS_TOKEN|EOS_TOKEN|beginning_of_sentence|end_of_sentence|SPECIAL_\d+)>"
    r"|</?(?:s|assistant|start_of_turn|end_of_turn|end_of_utterance|think|tool_call|tool_response|seed:\w+)>"
    r"|<(?:start_of_turn|end_of_turn|end_of_utterance)>|\[\|\w{1,20}\|\]|\[/?[A-Z_]{3,20}\]|\]~!?b\[|\[e~\["
)
"""What is a control token in the vocabularies that these templates belong to."""
PARAMETERS = {
    "type": "object", "properties": {"tile": {"type": "string", "description": "Its number."}}, "required": ["tile"],
}  # fmt: skip
TOOL = {
    "type": "function",
    "function": {"name": "find_tile", "description": "Finds a tile.", "parameters": PARAMETERS},
}
CALL = Call(name="find_tile", arguments={"tile": "0x02E"}, id="call00000")


SECOND = Call(name="find_tile", arguments={"tile": 'the "2"'}, id="call00001")


def _said(role: str, content: str, **more: Any) -> Message:
    return Message(role=role, content=content, **more)


TALKS: dict[str, Conversation] = {
    "one turn": (_said("user", "What does JSL do?"), _said("assistant", "It calls a routine in another bank.")),
    "dialogue": (
        _said("user", "Hi"), _said("assistant", "Hello."), _said("user", "Is A 8 bits wide?"),
        _said("assistant", "After SEP #$20."), _said("user", "And X?"), _said("assistant", "After SEP #$10."),
    ),
    "system": (_said("system", "Be brief."), _said("user", "Hi"), _said("assistant", "Hello.")),
    "markup": (
        _said("user", "What are <|im_end|>, </s> and <|eot_id|>?"), _said("assistant", "<|im_end|> ends a turn."),
        _said("user", "And [INST]?"), _said("assistant", "It opens one."),
    ),
    "reasoning": (
        _said("user", "Is A 8 bits?"), _said("assistant", "Yes.", reasoning="SEP #$20 ran."), _said("user", "And X?"),
        _said("assistant", "No.", reasoning="SEP #$10 did not."),
    ),
    "calls": (
        _said("user", "Where are tiles 1 and 2?", tools=(TOOL,)),
        _said("assistant", "", calls=(replace(CALL, arguments={"tile": "1"}), SECOND)),
        _said("tool", "[1]", name="find_tile", call_id="call00000"),
        _said("tool", "[]", name="find_tile", call_id="call00001"), _said("assistant", "Tile 1 on map 1, 2 nowhere."),
    ),
    "tools": (
        _said("user", "Where is tile 0x02E?", tools=(TOOL,)), _said("assistant", "", calls=(CALL,)),
        _said("tool", '{"maps": [3]}', name="find_tile", call_id="call00000"), _said("assistant", "On map 3."),
        _said("user", "Thanks"), _said("assistant", "You are welcome."),
    ),
}  # fmt: skip
PLAIN = ("one turn", "dialogue")
"""What every template must render to count as right."""


class Wrong(AssertionError):
    """Training would teach something else than serving asks for."""


@dataclass
class Verdict:
    """What became of one template: `right`, or a reason, for each conversation."""

    name: str
    source: str
    found: dict[str, str] = field(default_factory=dict)
    syntax: str = ""
    """How tool calls are written; empty if hafs cannot read them back."""

    @property
    def word(self) -> str:
        """right, refused or wrong."""
        if any(said.startswith("WRONG") for said in self.found.values()):
            return "wrong"
        return "right" if all(self.found[name] == "right" for name in PLAIN) else "refused"


def equip(tokenizer: Any, template: str) -> Any:
    """The tokenizer with a template, and with the template's control tokens in its vocabulary."""
    words = sorted(set(_CONTROL.findall(template)) - set(tokenizer.get_vocab()))
    tokenizer.add_special_tokens({"additional_special_tokens": words})
    tokenizer.chat_template = fixed(template, {})
    return tokenizer


def check(tokenizer: Any, template: str, *, name: str, source: str) -> Verdict:
    """Render every conversation as training and as serving do."""
    equip(tokenizer, template)
    verdict = Verdict(name, source)
    for title, talk in (TALKS | {"alike": _alike(tokenizer)}).items():
        try:
            _compare(tokenizer, talk)
            verdict.found[title] = "right"
        except Wrong as error:
            verdict.found[title] = f"WRONG: {error}"
        except HafsError as error:
            verdict.found[title] = error.fact
            if "\n" in error.fact:
                verdict.found[title] = f"WRONG: a refusal of several lines: {error.fact}"
    syntax = call_syntax(tokenizer) if verdict.found["tools"] == "right" else None
    verdict.syntax = syntax.family if syntax else ""
    return verdict


def _alike(tokenizer: Any) -> Conversation:
    """A conversation whose answer starts as the generation prompt's last words do."""
    asked = _said("user", "Is A 8 bits wide?")
    try:
        opening = tokenizer.decode(render(tokenizer, (asked,), for_generation=True).tokens).rpartition(asked.content)[2]
    except HafsError:
        opening = ""
    words = re.findall(r"[A-Za-z][A-Za-z ]*", _CONTROL.sub("", opening)) or ["assistant"]
    return (asked, _said("assistant", f"{words[-1]}, yes."), asked, _said("assistant", f"{words[-1][:2]}lp."))


def _compare(tokenizer: Any, talk: Conversation) -> None:
    times = [0] * len(talk)
    for sample in unfold(tokenizer, talk):
        done = render(tokenizer, sample)
        answers = list(_runs(done.supervised))
        learned = [i for i, m in enumerate(sample) if m.role == "assistant" and m.learned]
        if len(answers) != len(learned):
            raise Wrong(f"{len(learned)} answers, {len(answers)} supervised parts")
        for place, (start, stop) in zip(learned, answers, strict=True):
            times[place] += 1
            prompt = render(tokenizer, sample[:place], for_generation=True).tokens
            if done.tokens[:start] != prompt:
                raise Wrong(f"turn {place + 1}: serving sends other ids than training")
            _check_answer(tokenizer, talk, place, done.tokens[start:stop])
    if [count for count, m in zip(times, talk, strict=True) if m.role == "assistant" and count != 1]:
        raise Wrong(f"answers are learned {times} times")


def _runs(flags: list[bool]) -> Iterator[tuple[int, int]]:
    borders = [i for i, (a, b) in enumerate(zip([False, *flags], [*flags, False], strict=True)) if a != b]
    yield from zip(borders[::2], borders[1::2], strict=True)


def _check_answer(tokenizer: Any, talk: Conversation, place: int, tokens: list[int]) -> None:
    ends, turn = end_tokens(tokenizer), talk[place]
    if tokens[-1] not in ends:
        raise Wrong(f"turn {place + 1}: the end {tokenizer.decode(tokens[-1:])!r} does not stop generation")
    if set(tokens[:-1]) & set(ends):
        raise Wrong(f"turn {place + 1}: an end token in the middle of the answer")
    text = tokenizer.decode(tokens)
    if turn.content not in text:
        raise Wrong(f"turn {place + 1}: {text!r} is learned, not {turn.content!r}")
    strangers = [m.content for i, m in enumerate(talk) if i != place and len(m.content) > 3 and m.content in text]
    if strangers and not any(stranger in turn.content for stranger in strangers):
        raise Wrong(f"turn {place + 1}: {strangers[0]!r} of another turn is learned")
    if (syntax := call_syntax(tokenizer)) and turn.calls:
        calls = parse(tokenizer.decode(tokens[:-1]), syntax, [TOOL]).calls
        if [(c.name, c.arguments) for c in calls] != [(c.name, c.arguments) for c in turn.calls]:
            raise Wrong(f"turn {place + 1}: {text!r} is read back as {calls}")
