"""The results of a council's trial, and its rows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hafs.core import durable
from hafs.core.errors import DataError
from hafs.evaluation.council.sides import Question
from hafs.evaluation.evaluation_terminal import interval, judged, number, signed
from hafs.evaluation.figures import Alone, alone, figures
from hafs.evaluation.metrics import Metric, Said
from hafs.evaluation.subject import Subject
from hafs.runs.evaluation_record import Figure

Sheets = dict[str, list[Said]]
"""The answers of each side: the council first, perfect routing last."""
FOLDER = Path("outputs/council")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A scored expert."""

    run: str
    """Name of its run or of the registered model."""
    adapter_sha256: str
    dataset: str
    fingerprint: str
    """Of its data."""
    rows: int
    """Of its test split, that were asked."""
    routed: Mapping[str, int]
    """How often the router picked each expert for these rows; a row may go to several."""
    headline: Mapping[str, float]
    """The headline metric over these rows, by side."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """All results, as they are written to disk."""

    answer: str
    """Whether routing helps, in one line."""
    headline: str
    """The metric that the answer is about."""
    best_alone: str
    """The expert that is best alone."""
    router: str
    synthesizer: str
    providers: Sequence[str]
    experts: Mapping[str, Member]
    sides: Mapping[str, Mapping[str, Alone]]
    """Figures by side and metric."""
    against: Mapping[str, Mapping[str, Figure]]
    """By side and metric: the side (as `base`) and the council (as `tuned`) over the rows that both answered."""
    failed: Mapping[str, int]
    """Rows without an answer, by side."""
    skipped: Mapping[str, str]
    """Metrics that could not be measured here, and why."""
    max_new_tokens: int
    date: str
    """ISO 8601, UTC."""
    seconds: float
    """Duration of the trial."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A record and the rows behind it."""

    record: TrialRecord
    questions: Sequence[Question]
    sheets: Sheets
    routed: Sequence[tuple[str, ...]]
    """Who answered each row for the council."""

    def write(self, page: str, folder: Path = FOLDER) -> list[Path]:
        """Write the record, the page and every row; each file is replaced atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "evaluation.json": json.dumps(asdict(self.record), indent=1),
            "evaluation.html": page,
            "evaluation_rows.jsonl": "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in self._rows()),
        }
        for name, text in texts.items():
            durable.write_text(folder / name, text)
        return [folder / name for name in texts]

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "id": question.id, "expert": question.expert, "dataset": question.dataset, "routed": self.routed[i],
                "prompt": [asdict(message) for message in question.row.prompt], "reference": question.row.reference,
                "answers": {side: said[i].answer for side, said in self.sheets.items()},
            }
            for i, question in enumerate(self.questions)
        ]  # fmt: skip


def trial(
    *, chat: Any, members: Mapping[str, Subject], questions: Sequence[Question], sheets: Sheets,
    routed: Sequence[tuple[str, ...]], metrics: Mapping[str, Metric], headline: str, max_new_tokens: int, draws: int,
    seed: int, seconds: float,
) -> Trial:  # fmt: skip
    """Assemble the trial.

    Raises:
        DataError: The headline metric applies to no row.
    """
    council = next(iter(sheets))
    usable = {name: metric for name, metric in metrics.items() if not metric.missing()}
    sides = {
        side: {name: found for name, metric in usable.items() if (found := alone(metric, said))}
        for side, said in sheets.items()
    }
    if headline not in sides[council]:
        why = metrics[headline].missing() or "the council answered no row that it applies to"
        raise DataError(f"headline={headline} cannot be measured: {why}", hint="headline=chrf")
    against = {
        side: figures(usable, said, sheets[council], draws=draws, seed=seed)[0]
        for side, said in sheets.items()
        if side != council
    }
    sign = -1 if metrics[headline].better == "lower" else 1
    best = max(
        members, key=lambda name: sign * sides[name][headline].value if headline in sides[name] else -float("inf")
    )
    experts = {
        name: _member(name, subject, questions, sheets, routed, metrics[headline]) for name, subject in members.items()
    }
    record = TrialRecord(
        answer=_answer({side: found.get(headline) for side, found in sides.items()}, against[best].get(headline),
                       headline=headline, best=best), headline=headline,
        best_alone=best, router=chat.router.name, synthesizer=chat.synthesizer.name,
        providers=[provider.name for provider in chat.providers], experts=experts, sides=sides, against=against,
        failed={side: sum(row.answer is None for row in said) for side, said in sheets.items()},
        skipped={name: why for name, metric in metrics.items() if (why := metric.missing())},
        max_new_tokens=max_new_tokens, date=datetime.now(UTC).isoformat(timespec="seconds"), seconds=round(seconds, 1),
    )  # fmt: skip
    return Trial(record=record, questions=questions, sheets=sheets, routed=routed)


def _answer(values: Mapping[str, Alone | None], over_best: Figure | None, *, headline: str, best: str) -> str:
    """Whether routing helps, compared with the expert that is best alone on the same rows."""
    if over_best is None:
        return f"does routing help? not measured: the council and {best} answered no row in common"
    shown = {
        side: number(found.value if found else None, found.unit if found else "") for side, found in values.items()
    }
    council, *_, base, perfect = shown
    word = {
        "better": "yes",
        "worse": "no, it hurts",
        "": "too few to say" if over_best.unsure else "no significant difference",
    }[judged(over_best)]
    return (
        f"does routing help? {word}: {headline} {shown[council]}, {shown[best]} for {best}, the best single expert "
        f"({signed(over_best.difference, over_best.unit)}, 95 % {interval(over_best)}), {shown[base]} for the {base}, "
        f"{shown[perfect]} with perfect routing"
    )


def _member(
    name: str, subject: Subject, questions: Sequence[Question], sheets: Sheets, routed: Sequence[tuple[str, ...]],
    metric: Metric,
) -> Member:  # fmt: skip
    mine = [i for i, question in enumerate(questions) if question.expert == name]
    found = {side: alone(metric, [said[i] for i in mine]) for side, said in sheets.items()}
    return Member(
        run=subject.name, adapter_sha256=subject.sha256(), dataset=subject.dataset.name, fingerprint=subject.data,
        rows=len(mine), routed=dict(Counter(picked for i in mine for picked in routed[i]).most_common()),
        headline={side: figure.value for side, figure in found.items() if figure},
    )  # fmt: skip
