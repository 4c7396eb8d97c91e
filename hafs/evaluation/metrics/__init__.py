"""Metrics: what is measured on the rows of a test split, one file each.

A metric looks at one row at a time and says an amount and its weight; the figure over many rows is made of the two
sums, so one resampling of the rows gives the intervals of all metrics.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hafs.chat import Call, Conversation

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """One row of the test split, and one model's answer to it."""

    prompt: Conversation
    """All before the last answer."""
    reference: str
    """The last answer of the row; empty for plain text, which asks nothing."""
    answer: str | None
    """What the model said; None: it was not asked (plain text), or did not answer."""
    tokens: int = 0
    """Of the answer, without its end token."""
    ended: bool = False
    """Whether it ended by itself; else it was cut at the limit."""
    seconds: float = 0.0
    """This row's share of the time that generating took."""
    nats: float | None = None
    """Negative log likelihood of the row's own answers; None where it cannot be measured (a council)."""
    supervised: int = 0
    """Tokens of those answers, end tokens included."""
    correct: int = 0
    """How many of them were the model's most likely token."""
    bytes: int = 0
    """UTF-8 bytes of those answers."""
    expected_calls: tuple[Call, ...] = ()
    """Tool calls of the row's own last answer."""
    calls: tuple[Call, ...] = ()
    """Tool calls parsed from the model's answer; only in rows that have tools."""
    syntax: str = ""
    """Assembler dialect of the row's code, `ca65` or `asar`, where the row or the dataset says it."""
    samples: tuple[str, ...] = ()
    """Further answers to the same prompt, drawn at random; for pass@k."""
    group: str = ""
    """Rows that share it belong together: one prompt, or one `split_group`; empty: the prompt decides."""


class Parts(NamedTuple):
    """What one row adds to a figure."""

    amount: float
    weight: float = 1.0


class Metric(ABC):
    """One figure over the rows of a split; final classes are frozen dataclasses whose fields are their YAML."""

    better: Better = "higher"
    unit: str = "share"
    """`share` is shown in percent; any other word is shown behind the number."""
    once: bool = False
    """Whether all rows were measured together, so that comparing rows does not say how sure the figure is."""

    @abstractmethod
    def parts(self, said: Said) -> Parts | None:
        """Amount and weight of one row; None where the metric does not apply to it."""

    def prepare(self, rows: Sequence[Said]) -> None:  # noqa: B027
        """Called with all rows before `parts`: a metric that runs a program does it here, for many rows together."""

    def note(self, rows: Sequence[Said]) -> str:
        """A note about how these rows were measured; empty: none."""
        return ""

    def value(self, amount: Any, weight: Any) -> Any:
        """The figure for summed amounts and weights (numbers or arrays): their mean, unless a metric says otherwise."""
        return amount / weight

    def missing(self) -> str:
        """Why this machine cannot measure it; empty if it can."""
        return ""
