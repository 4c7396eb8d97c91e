"""Checks before a run, so that it fails in its first seconds or not at all.

The plan comes first; then what would end the run later: disk space, memory and the processes that use it, a torch build
without the GPU's architecture, answers without an end token, a logger without its key. The longest batch is run for
real by `callbacks/rehearsal.py`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from omegaconf import DictConfig

from hafs.chat import end_tokens
from hafs.core.errors import ConfigError, DataError, HafsError, RunError
from hafs.data.prepare import Prepared
from hafs.data.samples import Split
from hafs.modeling import hardware
from hafs.modeling.hardware.detect import detected, nvidia_smi, unknown_gpu
from hafs.modeling.hardware.gpu_memory import limit_memory
from hafs.planning import calibration, plan, plan_builder
from hafs.planning.architecture import architecture_of
from hafs.planning.memory import staying
from hafs.planning.plan import Plan, gib, spell
from hafs.planning.workload import trained_lengths, workload

LOOKED_AT = 64
"""Number of samples whose end is checked."""
FEW = 0.02
"""Share of supervised tokens below which a note is printed."""
LOGGER_KEYS = {"WandbLogger": "WANDB_API_KEY", "NeptuneLogger": "NEPTUNE_API_TOKEN", "CometLogger": "COMET_API_KEY"}


def planned(
    config: DictConfig, components: Any, data: Prepared, on: torch.device, chosen: hardware.Choice
) -> Plan | None:
    """The plan of a run whose data is known; None if the model's shapes cannot be determined.

    Args:
        config: Of the training command.
        components: What was chosen.
        data: The splits.
        on: The device of the run.
        chosen: The type of products, and why.
    """
    found, constants = calibration.applied(_hardware(on), calibration.default_path())
    allowed = limit_memory(on)
    if allowed is not None:  # memory of the driver and of other programs is not this run's
        found = replace(found, memory_bytes=min(found.memory_bytes, allowed + constants.context_bytes))
    train, report = data.splits["train"], data.report.splits["train"]
    lengths = trained_lengths(train.lengths, train.rejected_lengths, components.stages)
    load = workload(
        lengths,
        train=len(lengths),
        val=len(data.splits["val"]),
        supervised=report.supervised / max(1, report.tokens),
        source="counted",
    )
    product_bytes = 4 if chosen.value == torch.float32 else 2
    name = str(chosen.value).removeprefix("torch.")
    try:
        asked = plan_builder.asked(
            config,
            components.model,
            components.quant,
            components.adapter,
            components.dataset,
            components.stages,
            found,
            load,
            product_bytes,
            f"{name}: {chosen.why}",
        )
    except (HafsError, KeyError):
        return None
    return plan.make(asked, constants)


def _hardware(on: torch.device) -> hardware.Hardware:
    """What is known about a device: from its driver, or from torch where there is no driver tool (ROCm, containers)."""
    found = detected(on.type)
    if on.type != "cuda" or found.device == "cuda":
        return found
    card = torch.cuda.get_device_properties(on)
    return unknown_gpu(card.name, card.total_memory, bf16=torch.cuda.is_bf16_supported(including_emulation=False))


def parameters_of(model: Any) -> int | None:
    """Parameters of a model; None if its shapes are not on this machine."""
    try:
        return architecture_of(model).parameters
    except (HafsError, KeyError):
        return None


def lines(found: Plan) -> Iterator[str]:
    """The plan of a run, as lines of its header."""
    asked, spent = found.asked, found.duration
    device = asked.hardware.title
    yield f"model      {asked.model}: {asked.shapes.parameters:,} parameters, {asked.quant}, on {device}"
    yield f"precision  {asked.precision}"
    yield f"adapter    {asked.adapter}: {found.trained:,} parameters in training"
    largest = sorted(found.terms, key=lambda term: -term.bytes)[:3]
    where = ", ".join(f"{term.name} {gib(term.bytes)}" for term in largest)
    yield f"memory     {gib(found.total)} of {gib(found.capacity)} GiB, {found.verdict}: {where}, ..."
    yield f"sequence   {found.row.tokens:,} tokens per micro-batch: {found.micro_batch_why}"
    share = asked.load.supervised
    yield f"tokens     {spent.tokens:,} in {spent.steps:,} steps, {share:.0%} of them supervised"
    yield (
        f"time       about {spell(spent.usual)} ({spell(spent.best)} to {spell(spent.worst)}): "
        f"{asked.hardware.efficiency[1]:.0%} of the peak, {found.constants.source}"
    )


def logger_key(node: Any) -> None:
    """Refuse a logger that will ask for a key.

    Raises:
        ConfigError: Its environment variable is not set, and no login is stored.
    """
    name = str(node.get("_target_", "")).rsplit(".", 1)[-1] if node else ""
    variable = LOGGER_KEYS.get(name)
    offline = os.environ.get("WANDB_MODE") in ("offline", "disabled") or bool(node and node.get("offline"))
    if variable is None or os.environ.get(variable) or (name == "WandbLogger" and (offline or _stored_login())):
        return
    raise ConfigError(f"the logger {name} needs {variable}, which is not set", hint="set it, or logger=tensorboard")


def _stored_login() -> bool:
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    return netrc.is_file() and "api.wandb.ai" in netrc.read_text(errors="replace")


def ends(split: Split, tokenizer: Any) -> None:
    """Check that the end of an answer is supervised.

    Raises:
        DataError: Nothing is supervised, or a sample's last supervised token does not end it.
    """
    if not int(split.supervised.sum()):
        raise DataError("the training split has no supervised token", hint="rows need answers; run hafs validate")
    known = set(end_tokens(tokenizer))
    for place in range(0, len(split), max(1, len(split) // LOOKED_AT)):
        sample = split[place]
        learnt = sample.tokens[sample.supervised]
        if not len(learnt) or int(learnt[-1]) not in known:
            last = tokenizer.decode([int(learnt[-1])]) if len(learnt) else "nothing"
            raise DataError(
                f"sample {sample.id}: the last supervised token is {last!r}, not an end token",
                hint="answers would never stop; use model=qwen1_5b or another Instruct model",
            )


def warnings(found: Plan) -> Iterator[str]:
    """Notes about settings that are unusual, but no reason to stop."""
    if found.asked.load.supervised < FEW:
        yield f"note       only {found.asked.load.supervised:.1%} of the tokens are supervised"
    if found.verdict != "feasible":
        yield "note       memory is short: hafs plan with the same overrides lists what fits"


def disk(found: Plan, folder: Path, *, keep: int) -> None:
    """Check that there is disk space for checkpoints and adapters.

    Raises:
        RunError: There is not enough.
    """
    states = 2 if found.asked.setup.eight_bit_optimizer else 8
    needed = found.trained * ((4 + states) * (keep + 2) + 4 * (len(found.asked.stages) + 2))
    there = next(place for place in (folder, *folder.resolve().parents) if place.exists())  # or it is made soon
    free = shutil.disk_usage(there).free
    if free < needed:
        raise RunError(
            f"{folder} needs {needed / 1e6:,.0f} MB for checkpoints and adapters, and {free / 1e6:,.0f} MB are free",
            hint="free some space, or use callbacks.checkpoint.keep=1 or a smaller adapter.r",
        )


def memory(found: Plan, on: torch.device) -> None:
    """Check that the resident memory fits into the memory that is free now.

    Raises:
        RunError: It does not; on a GPU the processes that hold memory are named.
    """
    stays = staying(found.terms)
    free, holders = _free(on)
    if free is not None and stays > free:
        held = f"; used by {', '.join(holders)}" if holders else ""
        raise RunError(
            f"the model alone needs {gib(stays)} GiB, and {gib(free)} GiB are free on {on}{held}",
            hint="end those processes, or add model.embedding_on_cpu=true, quant=nf4, or a smaller model="
            if holders
            else "quant=nf4, or a smaller model=; hafs plan with the same overrides lists what fits",
        )


def _free(on: torch.device) -> tuple[int | None, list[str]]:
    """Free bytes, and on a GPU the processes that use the rest; None if the driver does not report it."""
    if on.type != "cuda":
        return psutil.virtual_memory().available, []
    try:
        free, _ = torch.cuda.mem_get_info(on)
    except RuntimeError:
        return None, []
    rows = nvidia_smi("pid,process_name,used_memory", query="compute-apps")
    others = [row for row in rows if len(row) == 3 and row[0] != str(os.getpid())]
    return free, [f"{Path(name).name} ({pid}, {used} MiB)" for pid, name, used in others]


def build_of_torch(on: torch.device) -> None:
    """Check that this build of torch has code for the GPU.

    Raises:
        ConfigError: It has none.
    """
    if on.type != "cuda" or torch.version.hip:
        return
    capability, known = torch.cuda.get_device_capability(on), torch.cuda.get_arch_list()
    if not knows(capability, known):
        raise ConfigError(
            f"the GPU is sm_{capability[0]}{capability[1]}, and this torch {torch.__version__} was built for "
            f"{', '.join(known)}",
            hint="install a torch for a newer CUDA (RTX 50 needs 12.8 or later), or trainer=cpu",
        )


def knows(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a build's architectures run on a GPU: the same major version and no newer minor, or any older PTX."""
    major, minor = capability
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdigit():
            continue
        built = (int(digits[:-1]), int(digits[-1]))
        if kind == "sm" and built[0] == major and built[1] <= minor:
            return True
        if kind == "compute" and built <= (major, minor):
            return True
    return False


def check(found: Plan | None, data: Prepared, tokenizer: Any, on: torch.device, folder: Path, *, keep: int) -> None:
    """Run all checks that need no weights.

    Raises:
        HafsError: What is wrong, with the override that fixes it.
    """
    ends(data.splits["train"], tokenizer)
    build_of_torch(on)
    if found is not None:
        disk(found, folder, keep=keep)
        memory(found, on)


def say_plan(found: Plan | None, say: Callable[[str], None], otherwise: Sequence[str]) -> None:
    """Print the plan, or `otherwise` for a model that cannot be planned."""
    for line in [*lines(found), *warnings(found)] if found else otherwise:
        say(line)
