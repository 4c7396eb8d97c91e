"""Train an expert: raw JSONL to a LoRA adapter that beats its base.

    python -m hafs.train                                            the shipped sample, on any machine
    python -m hafs.train dataset=jsonl dataset.path=my.jsonl name=my-expert-v1
    python -m hafs.train model=qwen14b stage=warmup,main,cooldown   stages run in the order typed
    python -m hafs.train -m adapter.r=4,8,16 stage=warmup,main      a sweep, ranked at the end
    python -m hafs.train experiment=hyrule_asm_v1                   a complete recipe by name

Run the same command again to resume. Ctrl-C saves first; `touch outputs/NAME/pause` saves, frees the GPU and waits
until the file is removed. Exit codes: 0 done, 2 user error, 3 diverged, 75 interrupted and resumable, 1 a bug in hafs.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import RunName, command, plain
from hafs.config.hydra_command import job_folder
from hafs.core.errors import INTERRUPTED, ConfigError, Interrupted
from hafs.core.launched import end_with_the_parent, rank, started_by_rank_zero, was_launched
from hafs.core.malloc_tuning import restart_without_caches
from hafs.core.signals import CONTINUES, StopNow, listening
from hafs.core.waiting import waiting


class Settings(TypedDict):
    """The command's own keys in `conf/train.yaml`."""

    name: RunName
    seed: Annotated[int, Field(ge=0)]
    resume: str
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    max_grad_norm: Annotated[float, Field(gt=0)] | None
    router_aux_loss: Annotated[float, Field(gt=0)] | None
    micro_batch_tokens: Annotated[int, Field(gt=0)] | None
    max_rollbacks: Annotated[int, Field(ge=0)]
    on_worse: Literal["stop", "continue"]
    on_data_change: Literal["refuse", "continue"]
    num_workers: Annotated[int, Field(ge=0)]


def train(config: DictConfig) -> float:
    """Train all unfinished stages; returns the held-out loss of the best adapter, in nats per token."""
    with listening() as stop:
        stop.obey()
        with waiting("loading libraries"):
            from hafs.runs.begun import as_begun, begun_folder
            from hafs.runs.run_folder import Run
            from hafs.training.session import Training, chosen

        if config.resume == "never" and was_launched() and not started_by_rank_zero():
            raise ConfigError("resume=never would give each launched process a folder of its own", hint="name=NEW")
        folder = started_by_rank_zero() or job_folder() or begun_folder(config)
        config, kept = as_begun(config, folder)
        values, components = plain(config), chosen(config)
        with Run(folder, writes=rank() == 0) as run:
            run.compare(values)
            training = Training(config, components, run, stop)
            for line in kept:
                training.say(f"as begun   {line}")
            training.prepare()
            with training.ranks():
                training.load(values)
                return training.go()


def after_sweep(folder: Path) -> int:
    """Print the ranked table of a sweep; returns the exit code."""
    from rich.console import Console

    from hafs.training.summary import show_sweep

    return show_sweep(Console(), folder)


enter = command("train", train, description=__doc__ or "", settings=Settings, after_sweep=after_sweep)


def main() -> None:
    """Run the command. Signals are handled from here on, also while the libraries are imported."""
    if getattr(sys.modules["__main__"].__spec__, "name", None) == __spec__.name and not {"-h", "--help"} & {*sys.argv}:
        restart_without_caches()  # the process runs only this command, and torch is not imported yet
    end_with_the_parent()
    try:
        with listening(for_good=True):
            enter()
    except (Interrupted, StopNow) as stop:  # the signal arrived when the exit code was already known
        if rank() == 0:
            print(f"hafs: {stop.args[0]}\n-> {CONTINUES}", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
