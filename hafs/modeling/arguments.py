"""Arguments of a chat template, written into the template itself, so that every caller renders the same text.

A template reads variables that its caller may set (`enable_thinking`), and the clock (`strftime_now`). The values of
training must apply wherever the template is rendered: in training, in serving, in every export. So both become text of
the template: a variable is set in its first line, and a date takes the place of the clock.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from hafs.core.errors import ConfigError

DAY = "2026-01-01"
"""The date that templates write if none is given."""
_CLOCK = re.compile(r"strftime_now\(\s*(?:'([^']*)'|\"([^\"]*)\")\s*\)")
_RESERVED = {"messages", "tools", "documents", "add_generation_prompt", "strftime_now", "raise_exception"}
_NAME = re.compile(r"[A-Za-z_]\w*")


def fixed(template: str, arguments: Mapping[str, Any]) -> str:
    """The template with its arguments and the date filled in.

    Args:
        template: In Jinja's language.
        arguments: Values of its variables; `date` (2026-01-01) replaces the current date.

    Raises:
        ConfigError: The template has no such variable, or the date is not valid.
    """
    given = dict(arguments)
    day = _date(given.pop("date", DAY))
    for name in given:
        if name in _RESERVED or not _NAME.fullmatch(name) or not re.search(rf"\b{name}\b", template):
            known = sorted(set(re.findall(r"\b(\w+) is (?:not )?defined", template)) - _RESERVED)
            raise ConfigError(
                f"the chat template has no variable {name!r}", hint=f"known: {', '.join(known) or 'none'}"
            )
    set_first = "".join(f"{{%- set {name} = {_literal(value)} %}}" for name, value in given.items())
    if set_first and template.startswith("\n"):
        set_first += "\n"  # the first newline after a block is dropped
    return set_first + _CLOCK.sub(lambda found: _literal(day.strftime(found.group(1) or found.group(2))), template)


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ConfigError(f"model.template.date is {value!r}, expected a day as in {DAY}") from error


def _literal(value: Any) -> str:
    """A value in Jinja's language."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)
