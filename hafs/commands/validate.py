"""Check a dataset: its contents, its errors, and whether training would accept it.

    python -m hafs validate                                               the shipped sample
    python -m hafs validate dataset=jsonl dataset.path=my.jsonl
    python -m hafs validate dataset=jsonl 'dataset.path="data/*.jsonl.gz"' dataset.overlong=split model=qwen14b

Prints the report and writes it as JSON and HTML, with every rejected row in rejected.jsonl. Lengths are in tokens of
the model's tokenizer. Exit codes: 0 training would accept the dataset, 2 training would refuse it.
"""

from pathlib import Path
from typing import Annotated, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import build, command


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

    from hafs.core.errors import DataError
    from hafs.data import report_files, report_terminal
    from hafs.data.prepare import report
    from hafs.modeling.weights import cache_folder

    dataset, model = build(config.dataset), build(config.model)
    found = report(dataset, model.tokenizer(), seed=config.seed, cache=cache_folder() / "datasets")
    console = Console()
    report_terminal.show(found, console)
    for path in report_files.write(found, Path(config.out)):
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if found.refusal:
        raise DataError(found.refusal, hint="fix the rows in rejected.jsonl, or raise dataset.max_rejected")


main = command("validate", validate, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
