"""Builds a plan from a composed config, and finds configurations that fit; used by `hafs plan` and before a run."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from omegaconf import MISSING, DictConfig
from rich.console import Console

from hafs.config import build, conf_folder
from hafs.config.tree import options
from hafs.core import records
from hafs.core.errors import FAILURE, USER_CAN_FIX, ConfigError
from hafs.data.dataset import Dataset
from hafs.data.size import Size, size
from hafs.modeling.adapter import Adapter, Full, Lora
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.hardware import Hardware
from hafs.modeling.hardware.detect import cards
from hafs.modeling.quantization import Quant, bitsandbytes
from hafs.modeling.weights import Converted, cache_folder
from hafs.planning import calibration, plan, plan_terminal
from hafs.planning.architecture import architecture_of
from hafs.planning.duration import BetweenSteps
from hafs.planning.fits import Fit, Option, nearest
from hafs.planning.memory import Setup
from hafs.planning.plan import PlanRequest
from hafs.planning.workload import Workload, trained_lengths, workload

if TYPE_CHECKING:
    from hafs.training.stage import Stage


class PlanBuilder:
    """The plan of a config.

    Args:
        config: As composed for the plan command.
    """

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        path = calibration_path(config.calibration)
        if config.calibration not in (None, "auto") and not calibration.load(path):
            fact = f"calibration file {config.calibration!r} contains no measurement"
            raise ConfigError(fact, hint=f"run: hafs plan calibrate calibration={config.calibration}")
        self.hardware, self.constants = calibration.applied(build(config.hardware), path)
        stages = [build(node) for node in (config.get("stages") or {}).values()]
        if not stages:
            raise ConfigError("there is no stage to plan", hint="stage=main, or stage=warmup,main,cooldown")
        model, quant, adapter, dataset = (build(config[group]) for group in ("model", "quant", "adapter", "dataset"))
        quant, self.note = trainable(adapter, quant)
        found = size(dataset, seed=config.seed, tokenizer=tokenizer_name(model), cache=cache_folder() / "datasets")
        shapes = architecture_of(model)
        fitted = [fit for stage in stages if (fit := stage.fit(found.train, shapes.parameters)) is not None]
        stages = fitted or [replace(stage, fewest_steps=0).fit(found.train, shapes.parameters) for stage in stages]
        product_bytes, why = product_type(config.precision, self.hardware)
        self.plan = plan.make(
            asked(
                config,
                model,
                quant,
                adapter,
                dataset,
                stages,
                self.hardware,
                as_workload(found, stages),
                product_bytes,
                why,
            ),
            self.constants,
        )

    def fits(self) -> list[Fit]:
        """Configurations that fit, if this one does not fit well."""
        if self.plan.verdict == "feasible":
            return []
        return nearest(self.plan, models=catalogue_options(self.config.model), cards=cards())

    def show(self, console: Console) -> None:
        """Print the plan."""
        if self.note:
            console.print(self.note)
        plan_terminal.show(self.plan, console)
        if self.plan.verdict != "feasible":
            console.print()
            plan_terminal.show_fits(self.fits(), console)


def asked(
    config: DictConfig,
    model: Model,
    quant: Quant,
    adapter: Adapter,
    dataset: Dataset,
    stages: "Sequence[Stage]",
    hardware: Hardware,
    load: Workload,
    product_bytes: Literal[2, 4],
    precision: str,
) -> PlanRequest:
    """What a plan needs to know about the chosen components."""
    return PlanRequest(
        model=model.name,
        shapes=architecture_of(model),
        quant=quant.name,
        adapter=adapter.name,
        setup=setup(config, model, quant, adapter, hardware, product_bytes),
        dataset=dataset.name,
        max_length=dataset.max_length,
        load=load,
        stages=stages,
        hardware=hardware,
        micro_batch_tokens=config.micro_batch_tokens,
        between=_between(config),
        precision=precision,
    )


def _between(config: DictConfig) -> BetweenSteps:
    """What the run does between steps."""
    callbacks = config.get("callbacks") or {}
    epoch = callbacks.get("generations") or {}
    return BetweenSteps(
        answers=max(config.show.measured, config.show.prompts),
        max_new_tokens=config.show.max_new_tokens,
        epoch_answers=epoch.get("prompts", 0),
        epoch_tokens=epoch.get("max_new_tokens", 0),
        save_every=(callbacks.get("checkpoint") or {}).get("every_steps"),
    )


def setup(
    config: DictConfig, model: Model, quant: Quant, adapter: Adapter, hardware: Hardware, product_bytes: Literal[2, 4]
) -> Setup:
    """The part of a config that determines memory."""
    lora = adapter.config if isinstance(adapter, Lora) else {}
    targets = lora.get("target_modules") or "all-linear"
    return Setup(
        bits=quant.bits,
        double=bool(quant.double),
        quantized_experts=bool(quant.experts),
        rank=lora.get("r"),
        targets=targets if isinstance(targets, str) else tuple(targets),
        target_parameters=tuple(lora.get("target_parameters") or ()),
        dora=bool(lora.get("use_dora")),
        dropout=lora.get("lora_dropout") or 0.0,
        eight_bit_optimizer="8bit" in config.optimizer.name,
        checkpointing=model.gradient_checkpointing,
        embedding_on_cpu=model.embedding_on_cpu,
        product_bytes=product_bytes,
        device=hardware.device,
        flash=hardware.device == "cuda" and product_bytes == 2 and hardware.bf16 is not None,
    )


def trainable(adapter: Adapter, quant: Quant) -> tuple[Quant, str]:
    """The storage form that can be trained, and a note if it is not the chosen one."""
    if not isinstance(adapter, Full) or not quant.bits:
        return quant, ""
    unquantized = bitsandbytes(name="none", bits=None, type=None, double=None)
    return unquantized, f"adapter=none cannot train quant={quant.name}: this plan uses quant=none"


def product_type(wish: str, hardware: Hardware) -> tuple[Literal[2, 4], str]:
    """Bytes of the type that products are computed in, and why."""
    if wish != "auto":
        names: dict[str, tuple[Literal[2, 4], str]] = {"bf16": (2, "bfloat16"), "fp16": (2, "float16")}
        size, name = names.get(wish, (4, "float32"))
        return size, f"{name}: precision={wish}"
    if hardware.bf16:
        return 2, f"bfloat16: {hardware.title} supports it"
    if hardware.fp16:
        return 2, f"float16, with a scaled loss: {hardware.title} does not support bf16"
    return 4, f"float32: {hardware.title} does not support bf16"


def tokenizer_name(model: Model) -> str:
    """The `name_or_path` of the model's tokenizer."""
    if isinstance(model.weights, Hub):
        return model.weights.repo
    return str(model.weights.place) if isinstance(model.weights, Converted) else model.name


def as_workload(found: Size, stages: "Sequence[Stage]") -> Workload:
    """A dataset's size as a plan needs it."""
    lengths = trained_lengths(found.lengths, found.rejected, stages)
    train = round(found.train * len(lengths) / max(1, len(found.lengths)))
    return workload(lengths, train=train, val=found.val, supervised=found.supervised, source=found.source)


def calibration_path(wish: str | None) -> Path | None:
    """Where measured figures are kept; None: use none."""
    if wish is None:
        return None
    return calibration.default_path() if wish == "auto" else Path(wish)


def catalogue_options(like: DictConfig) -> list[Option]:
    """The shipped models of the hub that could take the place of another one: its family, if it has others in there.

    Args:
        like: The other model's config.
    """
    nodes = {
        name: yaml.safe_load(path.read_text())
        for name in options("model")
        if (path := conf_folder() / "model" / f"{name}.yaml").exists()
    }
    repos = {name: node.get("weights", {}).get("repo", MISSING) for name, node in nodes.items()}
    mine = family(str(like.weights.get("repo", "")))
    same = [name for name, repo in repos.items() if family(repo) == mine and name != like.name]
    found = []
    for name in same or [name for name, repo in repos.items() if repo != MISSING]:
        model = build(DictConfig(nodes[name]))
        found.append(Option(name=name, shapes=architecture_of(model), checkpointing=model.gradient_checkpointing))
    return found


def family(repo: str) -> str:
    """The common part of the repository names of one model in several sizes: `Qwen/Qwen2.5-Coder` of the 14B's."""
    return re.split(r"-\d+(?:\.\d+)?[Bb]\b", repo)[0]


def sweep_table(folder: Path, *, since: float, width: int | None) -> int:
    """Print the plans of a sweep in one table; returns the exit code.

    Args:
        folder: Of the sweep.
        since: When it began, in seconds since 1970: an earlier sweep may have left plans in the same folder.
        width: Of the table, in columns; None: the terminal's.
    """
    plans: list[dict[str, Any]] = []
    code = 0
    jobs = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []  # one job without a name: the folder itself
    for job in jobs:
        if _written(job / "plan.json", since):
            found = _left(job / "plan.json")
            plans += [found] if found else []
            code = max(code, 0 if found else USER_CAN_FIX)
        elif _written(job / FAILURE, since):
            code = max(code, (_left(job / FAILURE) or {"exit_code": USER_CAN_FIX})["exit_code"])
    plans.sort(
        key=lambda found: (
            found["hardware"]["bytes"],
            found["hardware"]["name"],
            found["parameters"],
            found["trained_parameters"],
        )
    )
    if plans:
        plan_terminal.show_sweep(plans, Console(width=width))
    return code


def _left(path: Path) -> dict[str, Any] | None:
    """What a job left for the table; None where it is damaged."""
    try:
        return records.read_record(path)
    except records.Damaged:
        records.say_damaged(path, records.CHECKSUM, "its job is missing in the table")
        return None


def _written(path: Path, since: float) -> bool:
    return path.is_file() and path.stat().st_mtime >= since
