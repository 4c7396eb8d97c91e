"""Templates whose answers are hard to cut: what opens them, what ends them, and what their calls look like."""

import pytest

from hafs.chat import Call, Message, call_syntax, end_tokens, parse, render, unfold
from hafs.core.errors import HafsError

TOOL = {"type": "function", "function": {"name": "find", "description": "f", "parameters": {
    "type": "object", "properties": {"tile": {"type": "string", "description": "t"}}}}}  # fmt: skip
LOOP = "{%% for m in messages %%}<|im_start|>{{ m.role }}\n%s<|im_end|>\n{%% endfor %%}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "with words in the generation prompt": LOOP % "{{ m.content }}" + OPEN.replace("\n", "\nHere are my thoughts:\n"),
    "with reasoning closed like an answer": LOOP % (
        "{% if m.reasoning_content %}{{ m.reasoning_content }}<|im_end|>\n<|im_start|>assistant\n{% endif %}"
        "{{ m.content }}"
    ) + OPEN,
    "with another turn after the answer": "{% for m in messages %}<|im_start|><file_sep>{{ m.role }}:{{ m.content }}"
    "<|im_end|>{% if loop.last %}<|im_start|><gh_stars>Think first.<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|><file_sep>assistant:{% endif %}",
    "that needs tools": "{% for t in tools %}{{ t | tojson }}{% endfor %}" + LOOP % "{{ m.content }}" + OPEN,
    "with the system text before the last question": "{% set s = messages[0].content %}{% for m in messages[1:] %}"
    "<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'user' %}{{ s }}\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}" + OPEN,
}  # fmt: skip
CALLS = "{%% for t in tools or [] %%}{{ t | tojson }}{%% endfor %%}" + LOOP + OPEN.replace("%", "%%")
SYNTAXES = {
    "the first call only": "{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0].function | tojson }}{% endif %}",
    "the id after the name": "{{ m.content }}{% for c in m.tool_calls or [] %}<file_sep>{{ c.function.name }}<gh_stars>"
    "{{ c.id }}<jupyter_text>{{ c.function.arguments | tojson }}{% endfor %}",
    "a token after each call": "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}<gh_stars>"
    "{% endfor %}",
}  # fmt: skip


def said(*contents):
    return tuple(Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(contents))


def called(*tiles):
    calls = tuple(Call(name="find", arguments={"tile": tile}, id=f"call_{place}") for place, tile in enumerate(tiles))
    return (Message(role="user", content="Where?", tools=(TOOL,)), Message(role="assistant", content="", calls=calls))


@pytest.fixture
def written(tokenizer):
    def use(template):
        tokenizer.chat_template = template
        return tokenizer

    return use


def learned(tokenizer, conversation):
    done = render(tokenizer, conversation)
    return tokenizer.decode([token for token, flag in zip(done.tokens, done.supervised, strict=True) if flag])


@pytest.mark.parametrize("answer", ["Hello.", "Here", "H", "Here are two.", "Yes"])
def test_an_answer_that_starts_like_the_generation_prompt_is_learned_whole(written, answer):
    own = written(TEMPLATES["with words in the generation prompt"])
    assert learned(own, said("Hi", answer)) == f"{answer}<|im_end|>"


def test_an_answer_with_its_end_token_inside_is_refused_and_others_are_not(written):
    own = written(TEMPLATES["with reasoning closed like an answer"])
    thought = (*said("Hi"), Message(role="assistant", content="Hello.", reasoning="Greet."))
    with pytest.raises(HafsError, match=r"'<\|im_end\|>', which ends answers, inside turn 2"):
        render(own, thought)
    assert learned(own, said("Hi", "Say <|im_end|>.")) == "Say <|im_end|>.<|im_end|>"


def test_a_turn_that_follows_every_answer_is_not_part_of_it(written):
    own = written(TEMPLATES["with another turn after the answer"])
    for conversation in (said("Hi", "Hello."), said("Hi", "Hello.", "And?", "So.")):
        answers = [learned(own, sample) for sample in unfold(own, conversation)]
        assert answers == [f"{message.content}<|im_end|>" for message in conversation[1::2]]
    assert own.convert_ids_to_tokens(end_tokens(own)) == ["<|im_end|>"]


def test_a_template_that_needs_tools_says_so(written):
    own = written(TEMPLATES["that needs tools"])
    with pytest.raises(HafsError, match="refuses conversations without tools"):
        render(own, said("Hi", "Hello."))


def test_a_system_text_that_moves_to_the_last_question_is_trained_where_it_is_served(written):
    own = written(TEMPLATES["with the system text before the last question"])
    conversation = (Message(role="system", content="Be brief."), *said("Hi", "Hello.", "And?", "So."))
    samples = unfold(own, conversation)
    assert [len(sample) for sample in samples] == [3, 5]
    for sample in samples:
        prompt = render(own, sample[:-1], for_generation=True).tokens
        assert "Be brief." in own.decode(prompt)
        assert render(own, sample).tokens[: len(prompt)] == prompt


def test_a_call_that_the_template_drops_is_refused(written):
    own = written(CALLS % SYNTAXES["the first call only"])
    assert '"tile": "1"' in learned(own, called("1"))
    with pytest.raises(HafsError, match="leaves out a tool call of turn 2"):
        render(own, called("1", "2"))


def test_calls_are_read_whatever_their_ids(written):
    own = written(CALLS % SYNTAXES["the id after the name"])
    for identity in ("x", "call-7.a", "functions:3"):
        text = f'<file_sep>find<gh_stars>{identity}<jupyter_text>{{"tile": "1"}}'
        assert [call.arguments for call in parse(text, call_syntax(own), [TOOL]).calls] == [{"tile": "1"}]


def test_a_token_that_closes_each_call_does_not_end_the_answer(written):
    own = written(CALLS % SYNTAXES["a token after each call"])
    text = learned(own, called("1", "2"))
    assert text.count("<gh_stars>") == 2 and text.endswith("<|im_end|>")
    assert own.convert_ids_to_tokens(end_tokens(own)) == ["<|im_end|>"]
