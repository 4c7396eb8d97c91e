"""Predict whether a run fits in memory, how long it takes and what it costs; loads no weights.

    python -m hafs plan model=qwen14b hardware=rtx5060ti_16gb
    python -m hafs plan model=qwen32b hardware=rtx5060ti_16gb          does not fit: lists what does
    python -m hafs plan -m model=qwen14b,qwen32b hardware=rtx4090_24gb,h200 adapter.r=8,16,32
    python -m hafs plan experiment=hyrule_asm_v1 hardware=a100_80gb    accepts all overrides of `hafs train`
    python -m hafs plan calibrate                                      measure this machine with a few real steps

Memory is the sum of terms computed from the model's exact shapes; time comes from FLOPs and the hardware's rates. Exit
codes: 0 planned (whether it fits or not), 2 user error.
"""

import time
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import RunName, command


class Settings(TypedDict):
    """The command's own keys in `conf/plan.yaml` and `conf/train.yaml`."""

    name: RunName
    seed: Annotated[int, Field(ge=0)]
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    micro_batch_tokens: Annotated[int, Field(gt=0)] | None
    what: Literal["plan", "calibrate"]
    calibration: str | None
    json: bool


UNUSED = ("trainer", "logger", "callbacks")
PLAN = "plan.json"
"""File that each job of a sweep writes for the table."""
BEGAN = time.time()
"""Start time of this process, before any job of a sweep."""


def plan(config: DictConfig) -> None:
    """Print one plan, or measure this machine."""
    if config.what == "calibrate":
        from hafs.planning.calibration_runs import calibrate

        calibrate(config)
        return
    from rich.console import Console

    from hafs.config.hydra_command import job_folder
    from hafs.planning.plan_builder import PlanBuilder

    builder = PlanBuilder(config)
    job = job_folder()
    if job is not None:
        _leave(job, builder.plan.as_dict())
    elif config.json:
        _print_json(builder)
    else:
        builder.show(Console(width=_width()))


def _width() -> int | None:
    """The terminal's width; 120 columns if output is not a terminal."""
    import sys

    return None if sys.stdout.isatty() else 120


def _leave(job: Path, facts: dict[str, Any]) -> None:
    from hafs.core import records

    job.mkdir(parents=True, exist_ok=True)
    records.write_record(job / PLAN, facts)


def _print_json(builder: Any) -> None:
    import orjson

    facts = builder.plan.as_dict() | {"fits": [list(fit.overrides) for fit in builder.fits()]}
    print(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())


def after_sweep(folder: Path) -> int:
    """Print all plans of a sweep in one table; returns the exit code."""
    from hafs.planning.plan_builder import sweep_table

    return sweep_table(folder, since=BEGAN, width=_width())


main = command(
    "plan",
    plan,
    description=__doc__ or "",
    settings=Settings,
    after_sweep=after_sweep,
    positional="what",
    unused=UNUSED,
)

if __name__ == "__main__":
    main()
