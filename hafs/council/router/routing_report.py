"""Accuracy and calibration of a router, and thresholds fitted to labelled questions."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hafs.council.router import Panel, Router, Routing, picked
from hafs.council.router.rows import Row

BINS = 10
_STEPS = [step / 20 for step in range(1, 20)]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A router on labelled questions."""

    rows: int
    exact: float
    """Share of questions with exactly the right experts."""
    exact_several: float | None
    """The same for questions with several experts; None if there are none."""
    by_expert: Mapping[str, tuple[float, float]]
    """Precision and recall of each."""
    brier: float
    """Mean squared distance of the scores to 0 and 1 (Brier 1950); 0 is best, 0.25 is a coin toss."""
    calibration_error: float
    """Mean distance between score and share of right ones, in ten bins (Naeini et al. 2015)."""
    decided_by: Mapping[str, tuple[int, float]]
    """For each router that decided: the number of questions, and the share of right ones."""
    median_ms: float
    slowest_ms: float
    wrong: Sequence[tuple[str, str, str]]
    """Question, right experts, picked experts."""


async def measure(router: Router, panel: Panel, rows: Sequence[Row]) -> Report:
    """Route every question, one after the other, and count."""
    found = [(row, await router.route(row.question, panel)) for row in rows]
    right = [row.experts == set(routing.picked) for row, routing in found]
    several = [ok for (row, _), ok in zip(found, right, strict=True) if len(row.experts) > 1]
    pairs = [(routing.scores[name], name in row.experts) for row, routing in found for name in panel.experts]
    times = [routing.seconds * 1000 for _, routing in found]
    deciders = sorted({routing.decided_by for _, routing in found})
    return Report(
        rows=len(rows),
        exact=_share(right),
        exact_several=_share(several) if several else None,
        by_expert={name: _precision_recall(name, found) for name in panel.experts},
        brier=statistics.fmean((score - truth) ** 2 for score, truth in pairs),
        calibration_error=calibration_error(pairs),
        decided_by={name: _decided(name, found, right) for name in deciders},
        median_ms=statistics.median(times),
        slowest_ms=max(times),
        wrong=[
            (row.question, ",".join(sorted(row.experts)), ",".join(sorted(routing.picked)))
            for (row, routing), ok in zip(found, right, strict=True)
            if not ok
        ],
    )


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths)


def _decided(name: str, found: Sequence[tuple[Row, Routing]], right: Sequence[bool]) -> tuple[int, float]:
    mine = [ok for (_, routing), ok in zip(found, right, strict=True) if routing.decided_by == name]
    return len(mine), _share(mine)


def _precision_recall(name: str, found: Sequence[tuple[Row, Routing]]) -> tuple[float, float]:
    chosen = [name in row.experts for row, routing in found if name in routing.picked]
    wanted = [name in routing.picked for row, routing in found if name in row.experts]
    return (_share(chosen) if chosen else 0.0), (_share(wanted) if wanted else 0.0)


def calibration_error(pairs: Sequence[tuple[float, bool]]) -> float:
    """Mean distance between score and truth in equal bins, weighted by their size; 0 is best."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for score, truth in pairs:
        bins.setdefault(min(int(score * BINS), BINS - 1), []).append((score, truth))
    gaps = [abs(sum(s for s, _ in part) - sum(t for _, t in part)) for part in bins.values()]
    return sum(gaps) / len(pairs) if pairs else 0.0


async def fit(router: Router, panel: Panel, rows: Sequence[Row]) -> Panel:
    """The panel with the thresholds and the `multi_threshold` that get most of these questions exactly right.

    Coordinate by coordinate over a grid of twentieths, until nothing gets better; ties keep the value nearest to the
    old one. Scores are asked for once. Fit on rows that you do not measure on.
    """
    scored = [(row.experts, await router.consider(row.question, panel)) for row in rows]

    def right(candidate: Panel) -> int:
        chosen = ((who, picked(found.scores, candidate, found.no_expert)) for who, found in scored)
        return sum(who == set(experts or (panel.default,)) for who, experts in chosen)

    best, count = panel, right(panel)
    for _ in range(len(panel.experts) + 1):
        before = count
        for candidate in _neighbours(best):
            if (now := right(candidate)) > count:
                best, count = candidate, now
        if count == before:
            break
    return best


def _neighbours(panel: Panel) -> list[Panel]:
    """Panels that differ in one threshold, the smallest changes first."""
    changed = [
        (abs(step - expert.threshold), replace(panel, experts={**panel.experts, name: replace(expert, threshold=step)}))
        for name, expert in panel.experts.items()
        for step in _STEPS
    ]
    changed += [(abs(step - panel.multi_threshold), replace(panel, multi_threshold=step)) for step in _STEPS]
    return [candidate for _, candidate in sorted(changed, key=lambda pair: pair[0])]
