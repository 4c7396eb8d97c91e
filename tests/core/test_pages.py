"""Every page of hafs comes from a template that escapes text and stands alone."""

import ast
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError, meta

import hafs
from hafs.core.pages import environment, render

PACKAGE = Path(hafs.__file__).parent
TEMPLATES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.j2"))]
MARKUP = re.compile(r"</?(html|head|body|main|section|table|tr|td|th|div|span|p|pre|h1|h2|ul|li|svg|rect|text|b|a)[ >]")


def source(name):
    return (PACKAGE / name).read_text()


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_compiles_and_every_template_that_it_names_exists(name):
    environment().get_template(name)
    named = set(meta.find_referenced_templates(environment().parse(source(name))))
    assert named <= set(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_loads_nothing_from_elsewhere_and_lets_no_text_pass_unescaped(name):
    assert not re.search(r"""(src|href)=['"]?(https?:)?//|url\(|@import|\|\s*safe|autoescape""", source(name))


@pytest.mark.parametrize("name", TEMPLATES)
def test_values_stand_in_quoted_attributes_where_a_space_cannot_end_them(name):
    assert not re.search(r"\s[\w-]+=\{\{", source(name))


def test_only_the_pages_that_follow_a_server_have_a_script():
    live = ["dashboard/templates/live.html.j2", "server/templates/chat.html.j2"]
    assert [name for name in TEMPLATES if "<script" in source(name)] == live


def test_the_base_page_escapes_its_title_and_has_light_and_dark():
    text = render("core/templates/page.html.j2", title="<b>bold</b> & 'quoted'")
    assert text.startswith("<!doctype html>")
    assert "<title>&lt;b&gt;bold&lt;/b&gt; &amp; &#39;quoted&#39;</title>" in text
    assert "prefers-color-scheme:dark" in text


def test_a_table_aligns_numbers_with_their_headings_and_escapes_every_cell():
    tables = environment().get_template("core/templates/tables.html.j2").module
    text = str(tables.table(("<b>name</b>", "count"), [("<b>x</b>", 1234567)]))
    assert "<b>" not in text
    assert "<th class=number>count</th>" in text
    assert re.search(r"<td class='number ?'>1,234,567</td>", text)
    assert "<th" not in str(tables.table((), [("a", "b")]))


def test_a_fact_that_is_missing_is_an_error_and_not_an_empty_place():
    with pytest.raises(UndefinedError, match="title"):
        render("core/templates/page.html.j2")


def test_no_python_file_holds_html():
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and MARKUP.search(node.value):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []
