import pytest
from call_syntaxes import ARGUMENTS, SYNTAXES, TOOLS, template

from hafs.chat import Call, Message, call_syntax, parse, render, unfold


def conversation(*calls, text=""):
    asked = Message(role="user", content="Where?", tools=tuple(TOOLS))
    return asked, Message(role="assistant", content=text, calls=calls)


def generated(tokenizer, *calls, text=""):
    """What a model that learned the conversation generates."""
    (sample,) = unfold(tokenizer, conversation(*calls, text=text))
    done = render(tokenizer, sample)
    return tokenizer.decode([token for token, flag in zip(done.tokens, done.supervised, strict=True) if flag][:-1])


@pytest.mark.parametrize("name", SYNTAXES)
def test_calls_come_back_equal_from_what_the_template_writes(tokenizer, name):
    tokenizer.chat_template = template(SYNTAXES[name])
    syntax = call_syntax(tokenizer)
    assert syntax is not None
    calls = [Call(name=tool, arguments=ARGUMENTS[i], id=None) for i, tool in enumerate(("find_tile", "find"))]
    for asked in (calls[:1], calls[1:], calls):
        found = parse(generated(tokenizer, *asked), syntax, TOOLS)
        assert [(call.name, call.arguments) for call in found.calls] == [(c.name, c.arguments) for c in asked]
        assert found.text == ""
    said = parse(generated(tokenizer, text="It is {not} a call."), syntax, TOOLS)
    assert (said.text, said.calls) == ("It is {not} a call.", [])
    unknown = Call(name="delete_all", arguments={}, id=None)
    assert parse(generated(tokenizer, unknown), syntax, TOOLS).calls == []


def test_prompted_tools_are_parsed_and_text_answers_lose_their_head(tokenizer):
    syntax = call_syntax(tokenizer)
    call = Call(name="find_tile", arguments=ARGUMENTS[0], id=None)
    found = parse(generated(tokenizer, call), syntax, TOOLS)
    assert [(each.name, each.arguments) for each in found.calls] == [(call.name, call.arguments)]
    text = generated(tokenizer, text="In words.")
    assert text.startswith('{"name": "answer_in_words"')
    assert parse(text, syntax, TOOLS) == ("In words.", [])
    assert parse('{"name": "find_tile", "argum', syntax, TOOLS).calls == []


def test_a_syntax_that_does_not_come_back_equal_is_none(tokenizer):
    tokenizer.chat_template = template(
        "{{ c.function.name }}({{ c.function.arguments.values() | join(';') }}, hafs7key)"
    )
    assert call_syntax(tokenizer) is None
