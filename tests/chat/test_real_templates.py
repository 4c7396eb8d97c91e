"""Chat templates as models ship them, where they are at hand: training and serving have the same ids, or hafs refuses.

They are those of the installed `trl` package, and all `*.jinja` files below the folders in HAFS_TEMPLATES (separated by
`:`), such as `models/templates` of the llama-cpp-python source package.
"""

import importlib.util
import os
import re
from pathlib import Path

import pytest

from hafs.chat import Call, Message, render, unfold
from hafs.core.errors import HafsError

_TOKEN = re.compile(
    r"<[|\uff5c][^<>\s'\"]{1,40}[|\uff5c]>|<bos>|<eos>|\[/?[A-Z_]{3,20}\]"
    r"|</?(?:s|tool_call|tool_response|start_of_turn|end_of_turn|end_of_utterance|think)>"
    r"|<\w{1,30}\|>"
)
PARAMETERS = {"type": "object", "properties": {"tile": {"type": "string"}}, "required": ["tile"]}
TOOL = {
    "type": "function",
    "function": {"name": "find_tile", "description": "Finds a tile.", "parameters": PARAMETERS},
}


def folders():
    found = [Path(part) for part in os.environ.get("HAFS_TEMPLATES", "").split(":") if part]
    trl = importlib.util.find_spec("trl")
    return [*found, *(Path(place) for place in (trl.submodule_search_locations if trl else ()))]


TEMPLATES = sorted({path for folder in folders() for path in folder.rglob("*.jinja")})
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not TEMPLATES, reason="no chat templates at hand: install trl, or set HAFS_TEMPLATES"),
]


def said(role, content, **more):
    return Message(role=role, content=content, **more)


CALL = Call(name="find_tile", arguments={"tile": "0x02E"}, id="call00000")
TALKS = {
    "one turn": (said("user", "What does JSL do?"), said("assistant", "It calls a routine in another bank.")),
    "three turns": (
        said("system", "Be brief."), said("user", "Hi"), said("assistant", "Hello."), said("user", "Is A 8 bits?"),
        said("assistant", "After SEP #$20."), said("user", "And X?"), said("assistant", "After SEP #$10."),
    ),
    "tools": (
        said("user", "Where is tile 0x02E?", tools=(TOOL,)), said("assistant", "", calls=(CALL,)),
        said("tool", '{"maps": [3]}', name="find_tile", call_id="call00000"), said("assistant", "On map 3."),
    ),
}  # fmt: skip


def verdict(tokenizer, talk):
    """`right`, or why hafs refuses; an assertion fails where serving would see other ids than training."""
    try:
        samples = unfold(tokenizer, talk)
        for sample in samples:
            done = render(tokenizer, sample)
            for place, message in enumerate(sample):
                if message.role != "assistant" or not message.learned:
                    continue
                prompt = render(tokenizer, sample[:place], for_generation=True).tokens
                assert done.tokens[: len(prompt)] == prompt, f"turn {place}: serving sends other ids"
                assert done.supervised[len(prompt)], f"turn {place}: the answer is not learned"
                assert not done.supervised[len(prompt) - 1], f"turn {place}: a token of the prompt is learned"
    except HafsError as error:
        assert "\n" not in error.fact
        return error.fact
    return "right"


@pytest.fixture
def with_template(tokenizer):
    def made(path):
        text = path.read_text(encoding="utf-8")
        tokens = sorted(set(_TOKEN.findall(text)) - set(tokenizer.get_vocab()))
        tokenizer.add_special_tokens({"additional_special_tokens": tokens})
        tokenizer.chat_template = text
        return tokenizer

    return made


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_training_and_serving_have_the_same_ids_or_the_template_is_refused(with_template, path):
    tokenizer = with_template(path)
    found = {name: verdict(tokenizer, talk) for name, talk in TALKS.items()}
    assert "right" in found.values(), found
