import pytest
from omegaconf import OmegaConf

from hafs.config import compose, positional
from hafs.config.positional import collect, known_keys
from hafs.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _ask(monkeypatch):
    """The keys of a command that asks, whatever commands there are."""
    known = known_keys("train") | {"question", "router", "expert", "provider"}
    monkeypatch.setattr(positional, "known_keys", lambda command: known)


def read(*words):
    """The overrides left over, and the literal text as a config holds it."""
    got = collect(words, "question", "train")
    typed = [word for word in got if word == "question=${typed:}"]
    config = OmegaConf.create({"question": "${typed:}" if typed else None})
    return [word for word in got if word not in typed], config.question


@pytest.mark.parametrize(
    "text",
    [
        "Why, oh why?",
        'it\'s "quoted" \\ {braced} [x],[y]',
        "a=b",
        "???",
        "${oc.env:HOME} and \\${x}",
        "lda=#$0F,x",
        "- a list",
        "~5 seconds of lag",
        "two\nlines\tand a tab",
        "null",
        "name: = x",
    ],
)
def test_an_argument_that_is_not_an_override_is_taken_literally(text):
    assert read("router=llm", text, "+expert.asm.x=1") == (["router=llm", "+expert.asm.x=1"], text)


def test_words_are_joined_by_spaces_and_flags_and_their_values_stay():
    assert read("why", "--cfg", "job", "does", "it", "-m", "~logger") == (
        ["--cfg", "job", "-m", "~logger"],
        "why does it",
    )


def test_after_two_dashes_every_word_is_literal():
    assert read("router=llm", "--", "--help", "router=x") == (["router=llm"], "--help router=x")


def test_a_mistyped_override_is_not_part_of_the_question():
    with pytest.raises(ConfigError, match="did you mean 'router'"):
        read("why", "ruter=llm")


def test_no_literal_word_leaves_the_key_alone():
    assert read("router=llm") == (["router=llm"], None)


def test_the_key_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        read("why", "question=how")


def test_a_literal_value_composes_as_it_is():
    text = "x=${y}, '\"[ok"
    words = collect([text], "name", "train")
    assert compose("train", words).name == text
