"""The result of an evaluation: the record, and the rows behind the figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hafs.core import durable
from hafs.data.prepare import Prepared
from hafs.data.samples import Split
from hafs.evaluation.harness import Scores
from hafs.evaluation.metrics import Said
from hafs.evaluation.rom.suite import TaskAnswer, write_tasks
from hafs.evaluation.row_checks import RowCheck
from hafs.evaluation.subject import Subject
from hafs.runs.evaluation_record import Evaluation, Figure, HeldOut, Verdict


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The measurements of one side."""

    label: str
    """base, tuned, or a run's name."""
    test: Sequence[Said]
    general: Sequence[Said]
    tasks: Mapping[str, Scores]
    """Of lm-eval and of the ROM suite, by task and metric."""
    rom: Sequence[TaskAnswer] = ()
    """Answers to the tasks of the ROM suite."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An evaluation with the rows behind it."""

    record: Evaluation
    ids: Sequence[str]
    """Of the test rows."""
    sheets: tuple[Sheet, Sheet]
    folder: Path
    """Where its files go."""
    checks: Sequence[RowCheck | None] = ()
    """Of the test rows: whether each side's answer is right."""

    def write(self, page: str) -> list[Path]:
        """Write the record, the page and every row; each file is replaced atomically.

        Args:
            page: The HTML page.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        rows, html = self.folder / "evaluation_rows.jsonl", self.folder / "evaluation.html"
        durable.write_text(rows, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in self._rows()))
        durable.write_text(html, page)
        rom = {sheet.label: sheet.rom for sheet in self.sheets if sheet.rom}
        return [self.record.write(self.folder), html, rows, *(write_tasks(self.folder, rom) if rom else ())]

    def _rows(self) -> list[dict]:
        base, tuned = self.sheets
        return [
            {"id": i, "reference": a.reference, "prompt": [asdict(message) for message in a.prompt]}
            | {sheet.label: _told(said) for sheet, said in zip(self.sheets, (a, b), strict=True)}
            for i, a, b in zip(self.ids, base.test, tuned.test, strict=True)
        ]


def _told(said: Said) -> dict:
    return {key: value for key, value in asdict(said).items() if key not in ("prompt", "reference")}


def outcome(
    *,
    subject: Subject,
    data: Prepared,
    split: Split,
    sheets: tuple[Sheet, Sheet],
    figures: Mapping[str, Figure],
    skipped: Mapping[str, str],
    verdict: Verdict,
    max_new_tokens: int,
    seconds: float,
    against: Subject | None = None,
    checks: Sequence[RowCheck | None] = (),
) -> Outcome:
    """Assemble the outcome of an evaluation.

    Args:
        subject: Whose figures stand in the second column.
        data: The data of the test split.
        split: The test split.
        sheets: Both sides.
        figures: Measured metrics.
        skipped: Metrics that were not measured, and why.
        verdict: The gate's.
        max_new_tokens: Longest answer.
        seconds: Duration of the evaluation.
        against: The run of the first column; None: the subject's base.
        checks: Whether each side's answer to a test row is right.
    """
    count = len(sheets[0].test)
    facts = HeldOut(
        dataset=data.report.name, fingerprint=data.fingerprint, rows=count,
        tokens=sum(said.supervised for said in sheets[0].test), files=dict(data.file_hashes),
    )  # fmt: skip
    record = Evaluation(
        name=subject.name, base=against.name if against else subject.base, adapter_sha256=subject.sha256(),
        split=facts, metrics=figures, verdict=verdict, skipped=skipped, max_new_tokens=max_new_tokens,
        date=datetime.now(UTC).isoformat(timespec="seconds"), seconds=round(seconds, 1),
    )  # fmt: skip
    folder = subject.folder / "against" / against.name if against else subject.folder
    return Outcome(record=record, ids=split.ids[:count], sheets=sheets, folder=folder, checks=checks)
