"""The gate: rules over measured figures decide whether a tuned model may be registered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from hafs.core.errors import ConfigError
from hafs.data.enough import too_few
from hafs.runs.evaluation_record import Figure, Ruling, Verdict


class Rule(NamedTuple):
    """A kind of rule: which figure it checks, and on which side of the limit that must be."""

    words: str
    """What is compared with the limit."""
    at_most: bool
    of: Callable[[Figure], tuple[float | None, float | None, float | None]]
    """The figure and its interval's ends."""


def _difference(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return figure.difference, figure.low, figure.high


def _gain(figure: Figure) -> tuple[float | None, float | None, float | None]:
    """The difference, counted so that more is better."""
    if figure.better != "lower":
        return _difference(figure)
    flipped = [None if end is None else -end for end in (figure.high, figure.low)]
    return -figure.difference, flipped[0], flipped[1]


def _ratio(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return figure.ratio, figure.ratio_low, figure.ratio_high


def _tuned(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return figure.tuned, None, None


RULES = {
    "max_ratio": Rule("tuned over base is", True, _ratio),
    "min_ratio": Rule("tuned over base is", False, _ratio),
    "min_gain": Rule("gain is", False, _gain),
    "max_increase": Rule("increase is", True, _difference),
    "max_loss_increase": Rule("increase is", True, _difference),
    "max_decrease": Rule("decrease is", True, lambda f: _gain(replace(f, better="lower"))),
    "min": Rule("tuned is", False, _tuned),
    "max": Rule("tuned is", True, _tuned),
}
"""Every kind of rule by its name in `conf/gate/`."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Rules that must all be met."""

    name: str
    """As in `gate=`."""
    certain: bool
    """Compare the far end of the 95 % interval with the limit, not only the figure."""
    rules: Mapping[str, Mapping[str, float]]
    """By metric, then by kind of rule: the limit."""
    tasks: Sequence[str]
    """Metrics of what experts are for: in each that applies to the rows, the tuned model must be above its base."""

    def judge(self, figures: Mapping[str, Figure], skipped: Mapping[str, str] = MappingProxyType({})) -> Verdict:
        """Apply every rule; a rule fails if its metric was not measured.

        Args:
            figures: Measured metrics.
            skipped: Metrics that were not measured, and why.
        """
        rulings = tuple(
            self._apply(metric, kind, limit, figures.get(metric), skipped.get(metric, "it applies to no row"))
            for metric, kinds in self.rules.items()
            for kind, limit in kinds.items()
        )
        above = [task for task in self.tasks if task in figures and "min_gain" not in self.rules.get(task, {})]
        rulings += tuple(self._above_base(task, figures[task]) for task in above)
        return Verdict(passed=all(ruling.passed for ruling in rulings), rules=rulings)

    def _above_base(self, metric: str, found: Figure) -> Ruling:
        gain, low, high = _gain(found)
        unsure = found.unsure
        decides = low if self.certain else gain
        words = f"{metric}: gain is {gain:.4g}{_span(low, high, unsure)}, wanted above 0"
        return Ruling(
            metric=metric, rule="above_base", limit=0.0, figure=gain, low=low, high=high,
            passed=decides is not None and decides > 0 and not (self.certain and bool(unsure)),
            words=words + " (all of the interval)" * self.certain,
        )  # fmt: skip

    def _apply(self, metric: str, kind: str, limit: float, found: Figure | None, why: str) -> Ruling:
        rule = RULES[kind]
        figure, low, high = (None, None, None) if found is None else rule.of(found)
        unsure = "" if found is None else _unsure(rule, found)
        decides = (high if rule.at_most else low) if self.certain and rule.of is not _tuned else figure
        passed = decides is not None and (decides <= limit if rule.at_most else decides >= limit)
        bound = f"{'at most' if rule.at_most else 'at least'} {limit:g}"
        if figure is None:
            words = f"{metric}: not measured ({why if found is None else 'the base has 0'}), wanted {bound}"
        else:
            words = f"{metric}: {rule.words} {figure:.4g}{_span(low, high, unsure)}, wanted {bound}"
        return Ruling(
            metric=metric, rule=kind, limit=limit, figure=figure, low=low, high=high,
            passed=passed and not (self.certain and unsure), words=words + " (all of the interval)" * self.certain,
        )  # fmt: skip


def _unsure(rule: Rule, found: Figure) -> str:
    """Why no confident statement is possible; the figure of one side alone needs rows but no interval."""
    if rule.of is _tuned:
        return too_few(found.rows, found.rows if found.groups is None else found.groups)
    return found.unsure


def _span(low: float | None, high: float | None, unsure: str) -> str:
    if low is None or high is None:
        return f" ({unsure})" if unsure else ""
    return f" [{low:.4g}, {high:.4g}]"


def gate(*, name: str, certain: bool, tasks: Sequence[str], **rules: Mapping[str, float] | None) -> Gate:
    """The gate that the `gate` group describes; each further key is a metric with its rules; null: no rule.

    Args:
        name: As in `gate=`.
        certain: Compare the far end of the 95 % interval with the limit.
        tasks: Metrics in which the tuned model must be above its base, where they apply and have no `min_gain`.
        rules: By metric.

    Raises:
        ConfigError: A kind of rule is unknown, or its limit is not a number.
    """
    chosen = {metric: dict(kinds) for metric, kinds in rules.items() if kinds}
    if problems := _problems(chosen):
        raise ConfigError("\n".join(f"gate.{line}" for line in problems))
    return Gate(name=name, certain=certain, rules=chosen, tasks=tuple(tasks))


def _problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the rules of a config, one line per problem."""
    found = []
    for metric, kinds in given.items():
        if metric in ("name", "certain", "tasks") or kinds is None:
            continue
        if not isinstance(kinds, Mapping):
            found.append(f"{metric} is {kinds!r}, expected a rule such as {{max_ratio: 0.9}}")
            continue
        found += [f"{metric} has no rule {kind!r}; one of: {', '.join(RULES)}" for kind in kinds if kind not in RULES]
        found += [
            f"{metric}.{kind} is {limit!r}, expected a number"
            for kind, limit in kinds.items()
            if isinstance(limit, bool) or not isinstance(limit, int | float)
        ]
    return found


gate.check = _problems  # type: ignore[attr-defined]
