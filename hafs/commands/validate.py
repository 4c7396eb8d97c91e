"""Check a dataset: its contents, its errors, and whether training would accept it.

    python -m hafs validate                                               the shipped sample
    python -m hafs validate dataset=jsonl dataset.path=my.jsonl
    python -m hafs validate dataset=jsonl 'dataset.path="data/*.jsonl.gz"' dataset.overlong=split model=qwen14b

Prints the report and writes it as JSON and HTML, with every rejected row in rejected.jsonl. Lengths are in tokens of
the model's tokenizer. Exit codes: 0 training would accept the dataset, 2 it would not.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import build, command

if TYPE_CHECKING:
    from hafs.data.report import DataReport


MOST_TEST = 0.3
"""Share of the rows that a test split may take from training to become large enough."""


class Settings(TypedDict):
    """The command's own keys in `conf/validate.yaml`."""

    seed: Annotated[int, Field(ge=0)]
    out: str


def validate(config: DictConfig) -> None:
    """Report on a dataset.

    Raises:
        DataError: Training would refuse it.
    """
    from rich.console import Console

    from hafs.config.hydra_command import typed_overrides
    from hafs.config.next_command import run_name_for, same_data, say_next
    from hafs.core.waiting import waiting
    from hafs.data import report_files, report_terminal
    from hafs.data.prepare import report
    from hafs.modeling.weights import cache_folder

    dataset, model = build(config.dataset), build(config.model)
    with waiting("reading the data"):
        found = report(dataset, model.tokenizer(), seed=config.seed, cache=cache_folder() / "datasets")
    console = Console()
    report_terminal.show(found, console)
    for path in report_files.write(found, Path(config.out)):
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    found.raise_refusal()
    overrides = same_data(typed_overrides() or [])
    if overrides and not any("test_fraction" in word for word in overrides):
        overrides += _larger_test_split(found)
    say_next("train", *overrides, f"name={run_name_for(dataset.name)}" if overrides else "")


def _larger_test_split(found: "DataReport") -> list[str]:
    """The override that makes the test split large enough for a verdict; empty if none is needed or possible."""
    from hafs.data.enough import FEWEST_ROWS, too_few

    total, test = sum(split.samples for split in found.splits.values()), found.splits["test"]
    fraction = math.ceil(130 * FEWEST_ROWS / max(1, total)) / 100  # the share is one of groups, so a third more
    if not test.samples or not too_few(test.samples, test.groups) or fraction > MOST_TEST:
        return []
    return [f"dataset.test_fraction={fraction:g}"]


main = command("validate", validate, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
