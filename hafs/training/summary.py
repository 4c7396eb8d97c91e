"""The summary of a finished run: a table, answers side by side, and `summary.json`."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hafs.config.next_command import say_next
from hafs.core import durable, records
from hafs.core.errors import FAILURE
from hafs.modeling.base_model import Model
from hafs.registry.model_card import hub_name, run_card
from hafs.runs.run_folder import Run, ranked
from hafs.runs.survival import Survival, survival
from hafs.training.result import Result


def summarize(run: Run, results: Sequence[Result], *, seconds: float, model: Model, dataset: str) -> dict[str, Any]:
    """Copy the best adapter to `adapter/`, write `summary.json`, and return its content.

    Args:
        run: The run.
        results: Of all stages, the base's first.
        seconds: Of this call, loading and measuring included.
        model: The base model, for the model card.
        dataset: The dataset's name, for the model card.
    """
    index = max(i for i, result in enumerate(results) if result.kept)
    best, base = results[index], results[0]
    source = run.stage_folder(index, best.name) / "adapter"
    text = run_card(
        run.name, base=model.name, base_repo=hub_name(model.weights), dataset=dataset,
        losses={result.name: result.metrics["loss"] for result in results if result.kept},
    )  # fmt: skip

    def copy(draft: Path) -> None:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        (draft / "README.md").write_text(text, encoding="utf-8")

    durable.commit(run.folder / "adapter", copy)
    trained = {
        key: sum(r.metrics.get(f"train_{key}", 0) for r in results) for key in ("tokens", "supervised", "seconds")
    }
    summary = {
        "status": "done",
        "name": run.name,
        "loss": best.metrics["loss"],
        "perplexity": best.metrics["perplexity"],
        "base_loss": base.metrics["loss"],
        "base_perplexity": base.metrics["perplexity"],
        "best_stage": best.name,
        "adapter": str(run.folder / "adapter"),
        "steps": results[-1].total,
        "train_tokens": trained["tokens"],
        "train_seconds": round(trained["seconds"], 1),
        "tokens_per_second": round(trained["tokens"] / max(trained["seconds"], 1e-9), 1),
        "supervised_per_second": round(trained["supervised"] / max(trained["seconds"], 1e-9), 1),
        "seconds": round(seconds, 1),
        "stages": {
            result.name: dict(result.metrics) | {"kept": result.kept, "epoch": result.epoch} for result in results
        },
    }
    run.event("finished", total=results[-1].total, best_stage=best.name, loss=best.metrics["loss"])
    survived = survival(run.events())
    summary["survived"] = asdict(survived)
    records.write_record(run.folder / "summary.json", _with_nulls(summary))
    (run.folder / FAILURE).unlink(missing_ok=True)
    _report(run)
    return summary


def _with_nulls(value: Any) -> Any:
    """JSON values in which figures that were not measured are null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _with_nulls(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _report(run: Run) -> None:
    """Write `report.html`. A failure here does not fail the run."""
    from hafs.runs import report

    try:
        report.write(run.folder)
    except Exception as error:
        run.event("report_failed", why=f"{type(error).__name__}: {error}")


def show(console: Console, results: Sequence[Result], prompts: Sequence[str], summary: Mapping[str, Any]) -> None:
    """Print the table of stages, the answers of the base and of the best stage, and where the adapter is."""
    console.print(_stages(results))
    best = next(result for result in results if result.name == summary["best_stage"])
    if best.answers:
        console.print(_side_by_side(prompts, results[0].answers, best.answers))
    console.print(
        f"trained {summary['train_tokens']:,} tokens in {summary['train_seconds']:.0f} s "
        f"({summary['tokens_per_second']:.0f} tokens/s, {summary['supervised_per_second']:.0f} supervised), "
        f"{_took(summary)}"
    )
    console.print(Survival(**summary["survived"]).line(), highlight=False, soft_wrap=True)
    console.print(f"adapter: {summary['adapter']}", highlight=False, markup=False, soft_wrap=True)
    folder = Path(summary["adapter"]).parent
    name = summary["name"] if folder == Path("outputs") / summary["name"] else str(folder)
    say_next("evaluate", f"name={name}")


def _took(summary: Mapping[str, Any]) -> str:
    """This process's duration; after a resume it covers only the time since then."""
    seconds = summary["seconds"]
    return (
        f"{seconds:.0f} s in all" if seconds > summary["train_seconds"] else f"{seconds:.0f} s since it was continued"
    )


def _stages(results: Sequence[Result]) -> Table:
    table = Table(title="held-out split", title_justify="left")
    table.add_column("stage")
    for name in ("loss", "perplexity", "token accuracy", "answer length"):
        table.add_column(name, justify="right")
    for result in results:
        m = result.metrics
        notes = [note for note in (result.of_epoch, "" if result.kept else "worse, not used") if note]
        figures = [
            f"{m['loss']:.4f}",
            f"{m['perplexity']:.2f}",
            f"{m['accuracy']:.1%}",
            f"{m['answer_tokens']:.0f} tokens",
        ]
        name = f"{result.name} ({', '.join(notes)})" if notes else result.name
        table.add_row(name, *(["not measured"] * 4 if math.isnan(m["loss"]) else figures))
    return table


def _side_by_side(prompts: Sequence[str], base: Sequence[str], tuned: Sequence[str]) -> Table:
    table = Table(title="the same prompts, before and after", title_justify="left", show_lines=True, expand=True)
    for name in ("prompt", "base", "tuned"):
        table.add_column(name, ratio=1, overflow="fold")
    for row in zip(prompts, base, tuned, strict=False):
        table.add_row(*(Text(_clipped(cell)) for cell in row))
    return table


def _clipped(text: str, *, lines: int = 14) -> str:
    """The first lines; whole answers are in `events.jsonl`."""
    kept = [line for line in text.splitlines() if line.strip()]
    return "\n".join([*kept[:lines], "..."] if len(kept) > lines else kept)


def show_sweep(console: Console, folder: Path) -> int:
    """Print the jobs of a sweep, the best first.

    Returns:
        The exit code: 0 if all jobs are done, else that of a failed one.
    """
    summaries = ranked([path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else [])
    table = Table(title=f"sweep {folder}", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("job", overflow="fold")
    for name in ("held-out loss", "perplexity", "tokens/s"):
        table.add_column(name, justify="right")
    for rank, summary in enumerate(summaries, start=1):
        job = Path(summary["folder"]).name
        if summary["status"] == "done":
            held_out = (summary["loss"], ".4f"), (summary["perplexity"], ".2f")
            figures = ["not measured" if figure is None else f"{figure:{form}}" for figure, form in held_out]
            table.add_row(str(rank), Text(job), *figures, f"{summary['tokens_per_second']:.0f}")
        else:
            table.add_row("-", Text(job), Text("failed", style="red"), "", "")
    console.print(table)
    for summary in summaries:
        if summary["status"] != "done":
            console.print(
                f"{Path(summary['folder']).name}: {summary.get('error', '')}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    if summaries and summaries[0]["status"] == "done":
        console.print(f"best adapter: {summaries[0]['adapter']}", highlight=False, markup=False, soft_wrap=True)
    return max((summary.get("exit_code", 0) for summary in summaries), default=0)
