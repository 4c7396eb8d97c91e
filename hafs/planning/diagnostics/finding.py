"""A finding of `hafs doctor`."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "broken"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    state: State
    said: str
    todo: str = ""
