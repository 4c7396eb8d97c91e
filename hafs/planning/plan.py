"""A plan: what one configuration needs on one machine, and whether it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hafs.modeling.hardware import GIB, Hardware
from hafs.planning import duration, memory
from hafs.planning.architecture import Architecture
from hafs.planning.duration import BetweenSteps, Duration
from hafs.planning.memory import Constants, Setup, Term
from hafs.planning.workload import SequenceShape, Workload, fullest_sequence, fullest_step

if TYPE_CHECKING:
    from hafs.training.stage import Stage

HEADROOM = 0.08
"""Free share of the memory below which a plan is marginal: about the error of its figures."""

Verdict = Literal["feasible", "marginal", "infeasible"]


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """The parts of a configuration that a plan uses."""

    model: str
    shapes: Architecture
    quant: str
    adapter: str
    setup: Setup
    dataset: str
    max_length: int
    load: Workload
    stages: "Sequence[Stage]"
    hardware: Hardware
    micro_batch_tokens: int | None
    """As configured; None: `max_length` on a CPU, on a GPU what fits."""
    between: BetweenSteps
    precision: str
    """Which type products are computed in, and why."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan, and the configuration that it is for."""

    asked: PlanRequest
    row: SequenceShape
    micro_batch_limit: int
    """Tokens that a packed sequence may hold; a run starts with it."""
    micro_batch_why: str
    terms: Sequence[Term]
    duration: Duration
    constants: Constants

    @property
    def total(self) -> int:
        """Bytes at the peak."""
        return memory.total(self.terms)

    @property
    def capacity(self) -> int:
        """Bytes the hardware has."""
        return self.asked.hardware.memory_bytes

    @property
    def headroom(self) -> float:
        """Free share of the memory; negative: the missing share."""
        return 1 - self.total / self.capacity

    @property
    def verdict(self) -> Verdict:
        """Whether it fits."""
        if self.headroom < 0:
            return "infeasible"
        return "marginal" if self.headroom < HEADROOM else "feasible"

    @property
    def trained(self) -> int:
        """Parameters that the optimizer changes."""
        return memory.trained_parameters(self.asked.shapes, self.asked.setup)

    def usd(self, seconds: float) -> float | None:
        """Rent of the hardware for this duration; None if it is not rented."""
        price = self.asked.hardware.usd_per_hour
        return None if price is None else price * seconds / 3600

    def kwh(self, seconds: float) -> float:
        """Energy of the device for this duration."""
        return self.asked.hardware.watts * seconds / 3.6e6

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; bytes, seconds, dollars, kilowatt-hours."""
        asked, spent = self.asked, self.duration
        seconds = {"best": spent.best, "usual": spent.usual, "worst": spent.worst}
        return {
            "model": asked.model,
            "parameters": asked.shapes.parameters,
            "quant": asked.quant,
            "adapter": asked.adapter,
            "trained_parameters": self.trained,
            "precision": asked.precision,
            "hardware": {"name": asked.hardware.name, "title": asked.hardware.title, "bytes": self.capacity},
            "micro_batch_tokens": self.row.tokens,
            "micro_batch_why": self.micro_batch_why,
            "memory": {
                "terms": {term.name: {"bytes": term.bytes, "why": term.why} for term in self.terms},
                "total": self.total,
                "headroom": round(self.headroom, 4),
            },
            "verdict": self.verdict,
            "tokens": spent.tokens,
            "tokens_source": asked.load.source,
            "steps": spent.steps,
            "flops": spent.flops,
            "tokens_per_second": round(spent.tokens_per_second, 1),
            "seconds": {key: round(value, 1) for key, value in seconds.items()},
            "usd": {key: self.usd(value) for key, value in seconds.items()},
            "kwh": {key: round(self.kwh(value), 4) for key, value in seconds.items()},
            "efficiency": list(asked.hardware.efficiency),
            "constants": self.constants.source,
        }


def make(asked: PlanRequest, constants: Constants) -> Plan:
    """Plan one configuration."""
    limit, why = _row_limit(asked, constants)
    row = fullest_sequence(asked.load, asked.stages, limit)
    return Plan(
        asked=asked,
        row=row,
        micro_batch_limit=limit,
        micro_batch_why=why,
        terms=memory.terms(asked.shapes, asked.setup, row, constants),
        duration=duration.estimate(
            asked.shapes,
            asked.setup,
            asked.load,
            asked.stages,
            asked.hardware,
            micro_batch_tokens=row.tokens,
            between=asked.between,
        ),
        constants=constants,
    )


def _row_limit(asked: PlanRequest, constants: Constants) -> tuple[int, str]:
    """Tokens of a packed sequence, chosen as the run will choose them, and why."""
    if asked.micro_batch_tokens:
        return asked.micro_batch_tokens, "micro_batch_tokens"
    if asked.hardware.device == "cpu":
        return asked.max_length, "dataset.max_length, on a CPU"
    step = limit = max(fullest_step(asked.load, asked.stages), asked.load.longest)
    halved = 0
    while limit > asked.load.longest and not _fits(asked, limit, constants):
        limit, halved = max(asked.load.longest, limit // 2), halved + 1
    if not halved:
        return limit, "a whole step"
    if limit == asked.load.longest:
        return limit, f"the longest sample alone; a whole step is {step:,}"
    return limit, f"a whole step of {step:,}, halved until it fits"


def _fits(asked: PlanRequest, limit: int, constants: Constants) -> bool:
    row = fullest_sequence(asked.load, asked.stages, limit)
    needed = memory.total(memory.terms(asked.shapes, asked.setup, row, constants))
    return needed <= (1 - HEADROOM) * asked.hardware.memory_bytes


def gib(count: float) -> str:
    """Bytes as text, in GiB."""
    return f"{count / GIB:,.2f}"


def spell(seconds: float) -> str:
    """A duration as text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
