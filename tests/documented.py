"""Commands of hafs as documents, examples and containers show them, composed and checked as if they were typed."""

import re
import shlex
from importlib import import_module

from hafs.cli import SHORT, commands, module_of
from hafs.config import check, compose
from hafs.council.settings import CouncilSettings

_TYPED = re.compile(
    r"^ *(?:\$ )?(?:[A-Z_]+=\S+ |until )?(?:python -m hafs[. ]|hafs )(\w+)(?: +(.*?))?(?:;.*)?(?: {2,}#.*)?$",
    re.MULTILINE,
)
_INLINE = re.compile(r"`(?:python -m hafs[. ]|hafs )(\w+)(?: +([^`]*))?`")
_OVERRIDE = re.compile(r"^[+~]{0,2}[\w.@/]+=")
_SWEPT = re.compile(r"^([\w.]+=)([\w.-]+)(?:,[\w.-]+)+$")


def commands_in(text):
    """Every command of a document, in a line of its own or between backticks: its name and the words after it."""
    found = [*_TYPED.findall(text), *_INLINE.findall(text)]
    return [(name, words) for name, words in dict.fromkeys(found) if name in {*commands(), *SHORT}]


def composes(name, words):
    """Compose a command and hold it against what it would build; a sweep by its first value.

    Args:
        name: As typed after `hafs`.
        words: A line, or a list of words.
    """
    words = shlex.split(words, comments=True) if isinstance(words, str) else list(words)
    if name in SHORT:
        name, word, _ = SHORT[name]
        words = [word, *words]
    typed = [word for word in words if _OVERRIDE.match(word)]
    if {"-m", "--multirun"} & set(words):
        typed = [word if word.startswith("stage=") else _SWEPT.sub(r"\1\2", word) for word in typed]
    check(compose(name, typed), getattr(import_module(module_of(name)), "Settings", CouncilSettings))
