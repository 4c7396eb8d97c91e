"""Calls that are read while the answer is generated are those that the complete answer holds."""

import json

import pytest
from call_syntaxes import ARGUMENTS, SYNTAXES, TOOLS, template

from hafs.chat import Call, Message, call_syntax, parse, render, unfold
from hafs.chat.call_parser import PROMPTED
from hafs.chat.call_stream import CallStream


def generated(tokenizer, *calls, text=""):
    asked = Message(role="user", content="Where?", tools=tuple(TOOLS))
    (sample,) = unfold(tokenizer, (asked, Message(role="assistant", content=text, calls=calls)))
    done = render(tokenizer, sample)
    return tokenizer.decode([token for token, flag in zip(done.tokens, done.supervised, strict=True) if flag][:-1])


def heard(text, syntax, size=1, **options):
    """The text, the calls, and after how many characters each call was named."""
    stream, said, calls, named = CallStream(syntax, TOOLS, **options), "", [], []
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for number, piece in enumerate([*pieces, ""]):
        for part in stream.feed(piece, over=number == len(pieces)):
            if isinstance(part, str):
                said += part
                continue
            if part.name is not None:
                calls.append([part.name, ""])
                named.append(size * (number + 1))
            calls[part.index][1] += part.arguments
    return said, [(name, json.loads(arguments)) for name, arguments in calls], named


CALLS = [Call(name="find_tile", arguments=ARGUMENTS[0]), Call(name="find", arguments=ARGUMENTS[1])]


@pytest.mark.parametrize("name", [*SYNTAXES, "prompted"])
@pytest.mark.parametrize("size", [1, 7])
def test_pieces_give_what_the_complete_answer_gives(tokenizer, name, size):
    if name != "prompted":
        tokenizer.chat_template = template(SYNTAXES[name])
    syntax = call_syntax(tokenizer)
    for asked in (CALLS[:1], CALLS[1:], CALLS):
        text = generated(tokenizer, *asked)
        said, calls, named = heard(text, syntax, size)
        whole = parse(text, syntax, TOOLS)
        assert (said, calls) == (whole.text, [(call.name, call.arguments) for call in whole.calls])
        assert named[0] < len(text) - 10 or syntax.family == "tagged"  # it was told while the answer went on
        assert len(heard(text, syntax, size, several=False)[1]) == 1
    for words in ("It is {not} a call, [really].", 'As JSON: {"name": "nothing", "arguments": {}} is it.'):
        text = generated(tokenizer, text=words)
        assert heard(text, syntax, size)[:2] == (words, [])


def test_text_before_a_call_comes_first_and_without_the_call_s_tags(tokenizer):
    tokenizer.chat_template = template(SYNTAXES["an object in tags"])
    syntax = call_syntax(tokenizer)
    text = f"Let me look.\n{generated(tokenizer, CALLS[0])}"
    said, calls, _ = heard(text, syntax)
    assert (said, len(calls)) == ("Let me look.", 1) == (parse(text, syntax, TOOLS).text, 1)


def test_a_call_that_is_cut_off_has_told_its_name_and_the_start_of_its_arguments():
    stream = CallStream(PROMPTED, TOOLS)
    parts = stream.feed('{"name": "find_tile", "arguments": {"tile": "0x0') + stream.feed("", over=True)
    assert parts == [(0, "find_tile", ""), (0, None, '{"tile": "0x0')]


def test_an_object_that_is_not_a_call_is_passed_on_before_the_answer_ends():
    stream = CallStream(PROMPTED, TOOLS)
    assert stream.feed('Use {"a": 1} here') == ['Use {"a": 1} here']


def test_a_call_without_arguments_in_tags_is_read(tokenizer):
    tokenizer.chat_template = template(SYNTAXES["arguments in tags"])
    syntax = call_syntax(tokenizer)
    text = generated(tokenizer, Call(name="find", arguments={}))
    assert [(call.name, call.arguments) for call in parse(text, syntax, TOOLS).calls] == [("find", {})]
    assert heard(text, syntax)[1] == [("find", {})]
