"""Two answers to one question as a table."""

import difflib
import re

from rich.table import Table
from rich.text import Text

from hafs.council.conversations import Turn


def side_by_side(before: Turn, now: Turn) -> Table:
    """Who answered, time, tokens, cost and text of two answers; words that differ are marked."""
    table = Table("", "before", "now", title=Text(before.question.split("\n")[0][:100]))
    first, second = _marked(before.answer, now.answer)
    rows = [
        ("experts", ", ".join(before.experts), ", ".join(now.experts)),
        ("seconds", _number(before.seconds, ".2f"), _number(now.seconds, ".2f")),
        ("tokens", _tokens(before), _tokens(now)),
        ("cost", _number(before.cost, ".4f", "$"), _number(now.cost, ".4f", "$")),
    ]
    for name, one, other in rows:
        table.add_row(name, Text(one), Text(other))
    table.add_section()
    table.add_row("answer", first, second)
    return table


def _number(value: float | str, form: str, unit: str = "") -> str:
    return value if isinstance(value, str) else f"{unit}{value:{form}}"


def _tokens(turn: Turn) -> str:
    return f"{turn.tokens[0]} in, {turn.tokens[1]} out"


def _marked(before: str, now: str) -> tuple[Text, Text]:
    """Both texts; the words of one that the other does not have are bold."""
    first, second = (re.findall(r"\s+|[^\s]+", text) for text in (before, now))
    texts = Text(), Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        style = "" if kind == "equal" else "bold yellow"
        texts[0].append("".join(first[i:j]), style)
        texts[1].append("".join(second[k:m]), style)
    return texts
