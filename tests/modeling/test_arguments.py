import json

import pytest

from hafs.chat import Message, render, template_fingerprint
from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.modeling.arguments import fixed

THINKING = (
    "{%- if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}|{{ strftime_now(\"%Y\") }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think></think>{% endif %}{% endif %}"
)


def written(template, **options):
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": "user", "content": "q"}]
    return render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **options)[0][0]


def test_arguments_and_the_date_become_text_of_the_template():
    assert written(fixed(THINKING, {})).startswith("01 Jan 2026|2026<|im_start|>user")
    set_off = fixed(THINKING, {"enable_thinking": False, "date": "2024-07-26"})
    assert written(set_off).startswith("26 Jul 2024|2024<|im_start|>")
    assert written(set_off).endswith("assistant\n<think></think>")
    assert written(set_off, enable_thinking=True) == written(set_off)


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "it's \\ a\nline {{ x }}", ["a", {"b": False}], {"k": [1, "2"]}])
def test_every_value_arrives_as_it_was_given(value):
    template = "\n {{ given | tojson }}"
    found = written(fixed(template, {"given": value}))
    assert json.loads(found) == value
    assert found == written(template, given=value)


def test_what_a_template_does_not_know_is_refused_with_what_it_knows():
    with pytest.raises(ConfigError, match="no variable 'enable_thinkin'") as refused:
        fixed(THINKING, {"enable_thinkin": False})
    assert refused.value.hint == "known: enable_thinking"
    with pytest.raises(ConfigError, match="expected a day"):
        fixed(THINKING, {"date": "tomorrow"})


def test_a_models_arguments_reach_prompts_fingerprint_and_what_is_exported(tmp_path):
    from transformers import AutoTokenizer

    own = build(compose("train", ["model=tiny"]).model).tokenizer()
    own.chat_template = THINKING
    own.save_pretrained(tmp_path / "base")

    def model(*words):
        node = compose("train", ["model=qwen1_5b", f"model.weights.repo={tmp_path / 'base'}", *words]).model
        return build(node)

    off = model("model.template={enable_thinking: false}")
    plain, told = model().tokenizer(), off.tokenizer()
    asked = (Message(role="user", content="q"),)
    answered = (*asked, Message(role="assistant", content="a"))
    assert plain.decode(render(plain, asked, for_generation=True).tokens).endswith("assistant\n")
    prompt = render(told, asked, for_generation=True).tokens
    assert told.decode(prompt).endswith("assistant\n<think></think>")
    assert render(told, answered).tokens[: len(prompt)] == prompt
    assert template_fingerprint(plain) != template_fingerprint(told)
    told.save_pretrained(tmp_path / "export")
    exported = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert exported.apply_chat_template([{"role": "user", "content": "q"}], add_generation_prompt=True,
                                        enable_thinking=True)["input_ids"] == prompt  # fmt: skip
    assert off.own_template() == told.chat_template
    assert compose("train", ["model=tiny"]).model.template is None
    assert build(compose("train", ["model=tiny"]).model).own_template() is None


def test_arguments_for_a_template_that_has_none_are_refused_before_anything_is_loaded():
    with pytest.raises(ConfigError, match="no variable 'enable_thinking'"):
        build(compose("train", ["model=tiny", "model.template={enable_thinking: false}"]).model).tokenizer()
