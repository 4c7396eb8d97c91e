"""Evaluate a finished run: is it better than its base, and did it forget anything?

    hafs evaluate name=hyrule-asm-v1                        compare base and tuned model on the test split
    hafs evaluate name=hyrule-asm-v1 gate=asm               apply the rules of another gate
    hafs evaluate a=hyrule-asm-v1 b=hyrule-asm-v2           compare two runs
    hafs evaluate name=hyrule-asm-v1 tasks=arc_easy,piqa    add tasks of lm-eval, if it is installed
    hafs evaluate name=hyrule-asm-v1 tasks=rom              add the suite of ROM-hacking tasks
    hafs evaluate provider=openrouter tasks=rom             a hosted model on the suite
    hafs evaluate council=asm,yaze,debug                    does routing help? the council, each expert alone, the base
    hafs evaluate council=triforce-moe-v1                   a registered mixture, or registered models
    hafs evaluate 'council={asm: RUN, yaze: RUN}'           experts whose runs are not registered

Every difference has a paired bootstrap 95 % interval. Writes evaluation.json, an HTML page and every row to the run's
folder; `hafs register` reads the verdict. Exit codes: 0 the gate passed, 4 the gate did not pass, 2 user error.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command
from hafs.core.waiting import waiting
from hafs.council.settings import CouncilSettings

if TYPE_CHECKING:
    from rich.console import Console

Count = Annotated[int, Field(gt=0)]


class Settings(CouncilSettings):
    """The command's own keys in `conf/evaluate.yaml`."""

    name: str | None
    a: str | None
    b: str | None
    council: list[str] | dict[str, str | None] | None
    headline: str
    rows: Count | None
    max_new_tokens: Annotated[int, Field(ge=0)]
    concurrency: Count
    general: str | None
    tasks: list[str]
    tasks_folder: str | None
    tasks_limit: Count | None
    rom_tasks: str
    tasks_tier: str
    samples: Annotated[int, Field(ge=0)]
    draws: Annotated[int, Field(ge=100)]
    seed: Annotated[int, Field(ge=0)]


def evaluate(config: DictConfig) -> None:
    """Measure, show, write.

    Raises:
        GateRefused: A rule of the gate does not hold.
    """
    from rich.console import Console

    from hafs.config.next_command import say_next
    from hafs.evaluation.rom.options import answering

    console = Console()

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if config.council:
        return council(config, console, say)
    if hosted := answering(config):
        return rom(config, *hosted, say)

    with waiting("loading libraries"):
        from hafs.evaluation.choice import measuring, rules, subjects
        from hafs.evaluation.evaluation import against_base, against_run
        from hafs.evaluation.evaluation_page import page
        from hafs.evaluation.evaluation_terminal import refuse, show

    how, gate, runs = measuring(config), rules(config), subjects(config)
    outcome = against_base(runs[0], how, gate, say) if len(runs) == 1 else against_run(runs[0], runs[1], how, say)
    show(console, outcome)
    for path in outcome.write(page(outcome)):
        say(f"wrote {path}")
    refuse(outcome.record)
    if len(runs) == 1:
        say_next("register", f"name={config.name or outcome.record.name}")


def council(config: DictConfig, console: "Console", say: Callable[[str], None]) -> None:
    """Ask the council, each expert alone and the base model the test questions of all experts."""
    from hafs.evaluation.choice import scored
    from hafs.evaluation.council.council_page import page
    from hafs.evaluation.council.council_terminal import show

    trial = scored(config, say)
    show(console, trial.record)
    for path in trial.write(page(trial)):
        say(f"wrote {path}")
    if "rom" in config.tasks:
        from hafs.evaluation.council.members import seated

        rom(config, "council", seated(config)[0], say)


def rom(config: DictConfig, label: str, chat: Any, say: Callable[[str], None]) -> None:
    """Put the suite of ROM-hacking tasks to a chat model: a council, or a chain of providers."""
    from hafs.evaluation.rom.asking import of_chat
    from hafs.evaluation.rom.options import suite_of
    from hafs.evaluation.rom.suite import put_tasks, summary, write_tasks

    suite = suite_of(config)
    assert suite is not None
    told = put_tasks(suite, of_chat(chat, max_new_tokens=config.max_new_tokens))
    say(summary(label, told))
    for path in write_tasks(Path("outputs") / "rom_tasks" / label, {label: told}):
        say(f"wrote {path}")


main = command("evaluate", evaluate, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
