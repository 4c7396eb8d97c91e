"""Chat templates as models ship them, where they are at hand: training and serving have the same ids, or hafs refuses.

They are those of the installed `trl` package, and all below the folders in HAFS_TEMPLATES (separated by `:`), such as
an unpacked source package; `make conformance-templates` downloads them.
"""

import importlib.util
import os
from pathlib import Path

import pytest
from template_check import TALKS, Verdict, check
from template_sources import collect
from templates import line, table


def folders():
    found = [Path(part) for part in os.environ.get("HAFS_TEMPLATES", "").split(":") if part]
    trl = importlib.util.find_spec("trl")
    return [*found, *(Path(place) for place in (trl.submodule_search_locations if trl else ()))]


SOURCES = list(collect(folders()))


@pytest.fixture
def tokenizer(tokenizer_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.mark.long
@pytest.mark.skipif(not SOURCES, reason="no chat templates at hand: install trl, or set HAFS_TEMPLATES")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_training_and_serving_have_the_same_ids_or_the_template_is_refused(tokenizer, source):
    assert check(tokenizer, source.text, name=source.name, source=source.package).word != "wrong"


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_the_check_finds_a_template_right_and_a_mask_wrong(tokenizer, monkeypatch):
    found = check(tokenizer, CHATML, name="chatml", source="here")
    assert (found.word, set(found.found.values()), set(found.found)) == ("right", {"right"}, {*TALKS, "alike"})
    import template_check

    asked = "serving sends other ids"
    monkeypatch.setattr(template_check, "render", _with_a_token_less(template_check.render))
    assert asked in line(check(tokenizer, CHATML, name="chatml", source="here"))


def _with_a_token_less(render):
    def shorter(tokenizer, conversation, *, for_generation=False):
        done = render(tokenizer, conversation, for_generation=for_generation)
        return done._replace(tokens=done.tokens[:-1]) if for_generation else done

    return shorter


def test_templates_are_found_in_files_and_in_a_module_each_once(tmp_path):
    (tmp_path / "unsloth").mkdir()
    (tmp_path / "a.jinja").write_text("{% for m in messages %}{{ m }}{% endfor %}")
    (tmp_path / "b.jinja").write_text("{% for m in messages %}{{ m }}{% endfor %}")
    (tmp_path / "docker.jinja").write_text("FROM {{ image }}")
    module = "one = 'x'\nchat_template = '{% for m in messages %}' + one\nmade_template = one.upper()\n"
    (tmp_path / "unsloth" / "chat_templates.py").write_text(module)
    assert [source.name for source in collect([tmp_path])] == ["a", "chat_template"]


def test_the_page_lists_what_is_refused_and_why():
    right = Verdict("a", "p", dict.fromkeys(TALKS, "right"), syntax="object")
    refused = Verdict("b", "p", dict.fromkeys(TALKS, "right") | {"dialogue": "no <|x|>", "system": "no <|x|>"})
    page = table([refused, right])
    assert "| b | p | refused | dialogue, system: no &lt;\\|x\\|> |\n" in page
    assert "1 right" in page and "All the others are right: a." in page
