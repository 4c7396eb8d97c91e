"""Check a dataset: what is in it, what is wrong with it, and whether training would take it.

    python -m hafs validate                                               the shipped sample
    python -m hafs validate dataset=jsonl dataset.path=my.jsonl
    python -m hafs validate dataset=jsonl 'dataset.path="data/*.jsonl.gz"' dataset.overlong=split model=qwen14b

Prints the report and writes it as JSON and as an HTML page, with every rejected row in rejected.jsonl. Lengths are
counted with the model's tokenizer. Exit codes: 0 training would take it, 2 it would refuse.
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
    from hafs.data.dataset import report
    from hafs.modeling.weights import cache_folder

    dataset, model = build(config.dataset), build(config.model)
    found = report(dataset, model.tokenizer(), seed=config.seed, cache=cache_folder() / "datasets")
    console = Console()
    report_terminal.show(found, console)
    for path in report_files.write(found, Path(config.out)):
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if found.refusal:
        raise DataError(found.refusal, hint="mend the rows in rejected.jsonl, or raise dataset.max_rejected")


main = command("validate", validate, words=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
