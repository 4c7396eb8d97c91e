"""Sample answers, check them, and keep the correct ones as training data.

    hafs sample name=hyrule-asm-v1 k=8                                     answers of a run to its own training prompts
    hafs sample provider=openrouter dataset=alttp_asm rows=2000 budget=5   answers of hosted models, for at most $5
    hafs sample provider=a,b dataset=jsonl dataset.path=my.jsonl k=4       a failover chain; four answers per prompt
    hafs train dataset=verified stage=verified                             the kept answers as a stage

Uses only prompts of the training split. Writes every answer when it arrives: after a kill, the same command requests
only the missing answers. Writes answers.jsonl, rows.jsonl, pairs.jsonl (a correct and a wrong answer, for
stage=preference) and summary.json to outputs/samples/. Exit codes: 0 done, 2 user error, 69 no provider answers, 130
stopped.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command

Count = Annotated[int, Field(gt=0)]


class Settings(TypedDict):
    """The command's own keys in `conf/sample.yaml`."""

    name: str | None
    k: Count
    rows: Count | None
    until_right: bool | None
    prompts: Count | None
    budget: Annotated[float, Field(gt=0)] | None
    budget_tokens: Count | None
    concurrency: Count
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Count
    tier: Literal["fast", "coding", "reasoning", "cheap", "fallback"]
    check: list[str]
    near_duplicate_threshold: Annotated[float, Field(gt=0, le=1)]
    rom_tasks: str | None
    folder: str | None
    seed: Annotated[int, Field(ge=0)]


def sample(config: DictConfig) -> None:
    """Ask, check, keep.

    Raises:
        HafsError: A setting is wrong, or no provider answers.
    """
    from rich.console import Console

    from hafs.evaluation.sampling.choice import chosen
    from hafs.evaluation.sampling.terminal import Bar, show

    console = Console()

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    sampler = chosen(config, say)
    try:
        summary = _with_bar(sampler, Bar, console)
    finally:
        sampler.close()
    show(console, summary, sampler.folder)


def _with_bar(sampler: Any, bar: Callable[..., Any], console: Any) -> dict[str, Any]:
    with bar(console, total=sampler.questions(), done=len(sampler.journal.answers), budget=sampler.budget) as shown:
        return sampler.run(shown.told, shown.checked)


main = command("sample", sample, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
