"""The chat page at `/`: one HTML document that talks to the same endpoints as every other client.

Gradio 6.31 and Chainlit 2.12 (wheels of 31 and 11 MB, 23 and 28 requirements) also provide a chat page. Each adds a
second server with its own protocol, and neither shows a receipt. So hafs has its own small page. The server renders
Markdown and highlighted code with the libraries that the terminal uses; the page loads no third-party script.
"""

import secrets
from functools import cache
from typing import ClassVar

from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import bygroups, inherit
from pygments.lexers import get_lexer_by_name
from pygments.lexers.asm import Ca65Lexer
from pygments.token import Keyword, Text
from pygments.util import ClassNotFound
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hafs.core.pages import render
from hafs.server.api_error import ApiError
from hafs.server.desk import Desk

ASSEMBLY = frozenset({"asm", "ca65", "asar", "65816", "65c816", "snes"})
"""Names of a fence's language that Pygments has no lexer for, or another machine's."""


class Assembly65816(Ca65Lexer):
    """Pygments' lexer for ca65, which knows only the 6502's instructions, with those of the 65816."""

    name = "65816 assembly"
    tokens: ClassVar = {
        "root": [
            (
                r"(?i)^(\s*(?:[A-Za-z_@.+-][\w.]*:?\s+)?)(bra|brl|cop|jml|jsl|mvn|mvp|pe[air]|ph[bdkxy]|pl[bdxy]|rep|rtl|sep"
                r"|stp|stz|tas|tc[ds]|td[c]|trb|tsb|tsc|txy|tyx|wai|wdm|xba|xce)\b",
                bygroups(Text, Keyword),
            ),
            inherit,
        ]
    }


@cache
def _parser() -> MarkdownIt:
    """CommonMark with tables. Markup of the model is text: raw HTML is escaped, and images are not loaded."""
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted}).enable("table")
    return parser.disable("image")


def _highlighted(code: str, language: str, attributes: str) -> str:
    """The lines of fenced code as HTML; plain if no lexer is known."""
    try:
        lexer = Assembly65816() if language.lower() in ASSEMBLY else get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def as_html(markdown: str) -> str:
    """An answer as HTML that cannot contain markup of the model.

    Args:
        markdown: The answer, complete or not.
    """
    return str(_parser().render(markdown))


async def rendered(request: Request, desk: Desk) -> dict[str, str]:
    """The HTML of the answer in the request's body.

    Raises:
        ApiError: The body is not UTF-8, or too long.
    """
    try:
        text = (await desk.body(request)).decode()
    except UnicodeDecodeError as error:
        raise ApiError(400, "the text is not UTF-8") from error
    return {"html": as_html(text)}


def _style(name: str) -> Markup:
    """The rules of one of Pygments' styles, which are CSS and not text."""
    return Markup(HtmlFormatter(style=name).get_style_defs(".answer pre"))


def page(desk: Desk) -> HTMLResponse:
    """The document. Its policy admits its own script and style, and connections to this server alone."""
    nonce = secrets.token_urlsafe(16)
    text = render(
        "server/templates/chat.html.j2",
        nonce=nonce,
        models=[entry["id"] for entry in desk.models()],
        light=_style("default"),
        dark=_style("github-dark"),
    )
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    return HTMLResponse(text, headers=headers)
