"""Runs the training command: prepares data, loads the model, trains the stages and prints the summary."""

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console

from hafs.config import build
from hafs.config.hydra_command import typed_overrides
from hafs.core import malloc_tuning
from hafs.core.errors import ConfigError
from hafs.core.launched import rank, was_launched
from hafs.core.signals import StopSignals
from hafs.core.waiting import waiting
from hafs.data import report_files
from hafs.data.dataset import Dataset
from hafs.data.prepare import Prepared, prepare
from hafs.modeling import hardware
from hafs.modeling.adapter import Adapter, Full
from hafs.modeling.adapter_check import check_adapter
from hafs.modeling.base_folder import weights_sha256
from hafs.modeling.base_model import Model
from hafs.modeling.generation import prompt_of
from hafs.modeling.model_parts import run_mode
from hafs.modeling.quantization import Quant
from hafs.modeling.weights import cache_folder
from hafs.planning import preflight
from hafs.runs.run_folder import Run, flat
from hafs.training.devices import Devices
from hafs.training.module import FineTuningModule
from hafs.training.ranks import Ranks
from hafs.training.result import Result
from hafs.training.safe_logger import open_logger
from hafs.training.shown_answers import Shown
from hafs.training.stage import Stage, choices, fitted, key
from hafs.training.stage_runner import StageRunner
from hafs.training.summary import show, summarize
from hafs.training.trainer import lightning_refuses, refuse_unknown_name, refuse_unknown_strategy, with_our_signals

_UNUSED_SHOWN = 12  # keys; the data report has all


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components that the config selects."""

    model: Model
    quant: Quant
    adapter: Adapter
    dataset: Dataset
    stages: Sequence[Stage]


def chosen(config: DictConfig) -> Components:
    """Build the components. Weights and data are not loaded yet.

    Raises:
        ConfigError: No stage is selected.
    """
    stages = [build(node) for node in (config.get("stages") or {}).values()]
    if not stages:
        raise ConfigError("there is no stage to train", hint="stage=main, or stage=warmup,main,cooldown")
    components = {group: build(config[group]) for group in ("model", "quant", "adapter", "dataset")}
    return Components(**components, stages=stages)


class Training:
    """One training run, from data preparation to the summary table.

    Args:
        config: The composed config, for the settings outside the components.
        components: Model, quantization, adapter, dataset and stages.
        run: The open run folder.
        stop: Stop requests by signal.
    """

    def __init__(self, config: DictConfig, components: Components, run: Run, stop: StopSignals) -> None:
        self.config, self.components, self.run, self.stop = config, components, run, stop
        self.began = time.perf_counter()
        self.console = Console(quiet=rank() > 0)

    def say(self, line: str) -> None:
        """Print one line of progress."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def prepare(self) -> None:
        """Validate, deduplicate, split and tokenize the data; print a summary.

        Raises:
            DataError: Too many rows are invalid. The model has not been loaded.
            RunError: The data changed since the run started.
        """
        self.say(str(self.run.folder))
        self.run.begin(
            **{group: getattr(self.components, group).name for group in ("model", "quant", "adapter", "dataset")}
        )
        preflight.logger_key(self.config.get("logger"))
        self.logger = open_logger(self.config.get("logger"), self.run)
        refuse_unknown_name(self.config.trainer.strategy)
        hardware.device(self.config.trainer.accelerator)
        try:
            probe = self._trainer()
        except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
            raise lightning_refuses(error) from error
        refuse_unknown_strategy(probe)
        self.world = probe.world_size
        with waiting("reading the data"):
            self.tokenizer = self.components.model.tokenizer()
            self.data: Prepared = prepare(
                self.components.dataset, self.tokenizer, seed=self.config.seed, cache=cache_folder() / "datasets"
            )
        fingerprints, go_on = self.data.fingerprints(self.run.folder), self.config.on_data_change == "continue"
        self.run.compare_data(self.data.fingerprint, also=fingerprints, accept_changes=go_on)
        if self.run.writes:
            report_files.write(self.data.report, self.run.folder)
        sizes = ", ".join(f"{name} {len(split)}" for name, split in self.data.splits.items())
        self.say(f"data       {self.components.dataset.name}: {sizes} samples")
        self._refuse_empty_stages(probe)
        if unused := self.data.report.unused_keys(_UNUSED_SHOWN):
            self.say(f"unused     row keys that hafs does not read: {unused}")

    def _refuse_empty_stages(self, trainer: pl.Trainer) -> None:
        """Refuse a stage that has nothing to train on, or cannot put its reference in place.

        Raises:
            ConfigError: The training split has no rows for it, or the strategy shards the parameters.
        """
        name = self.components.dataset.name
        for stage in self.components.stages:
            if not len(stage.rows_of(self.data.splits["train"])):
                raise stage.empty(name)
            if stage.preference and Devices(trainer).sharded:
                raise ConfigError(f"stage {stage.name!r} does not run with sharded parameters", hint="trainer=ddp")

    def ranks(self) -> Ranks:
        """The processes of all devices, from model loading to the end.

        Raises:
            ConfigError: There are several devices, and the command line to start their processes is unknown.
        """
        overrides = typed_overrides()
        if self.config.trainer.get("num_nodes", 1) > 1 and not was_launched():
            raise ConfigError(
                f"trainer.num_nodes={self.config.trainer.num_nodes}, and this process was not started by a launcher",
                hint="torchrun --nnodes=N --nproc-per-node=DEVICES ... -m hafs.train ..., or srun, on each machine",
            )
        if self.world > 1 and overrides is None and not was_launched():
            raise ConfigError(
                "several devices need one process each, and this process was not started as hafs train",
                hint="start it with torchrun, or trainer.devices=1",
            )
        return Ranks(self.world, stop=self.stop, folder=self.run.folder, overrides=overrides or ())

    def load(self, values: Any) -> None:
        """Load the base model, attach the adapter, and record the run's config and hashes."""
        device = hardware.device(self.config.trainer.accelerator)
        precision = hardware.precision(self.config.precision, device)
        before = self.run.chosen()
        picked, plans, tokens = self._planned(device, precision, before)
        began = time.perf_counter()
        base = self._build_module(device, precision.value, micro_batch_tokens=tokens)
        self._say_if_divided_otherwise(values)
        self.run.record(values, data=self.data.fingerprint, base=base, chosen=picked | (before or {}))
        if self.logger and self.run.writes:
            self.logger.log_hyperparams(flat(values))
        trained = sum(p.numel() for p in self.module.trainable().values())
        self.say(f"loaded     {trained:,} parameters in training, after {time.perf_counter() - began:.1f} s")
        name = str(precision.value).removeprefix("torch.")
        self.run.event("planned", device=str(device), precision=name, trained_parameters=trained, stages=plans)

    def _planned(
        self, device: torch.device, precision: hardware.Choice, before: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
        """Fit the stages to the data, print the plan and check it.

        Returns:
            The values that were chosen, the plans of the stages, and the tokens of a micro-batch.
        """
        configured, train = self.components.stages, self.data.splits["train"]
        size = preflight.parameters_of(self.components.model)
        stages, chosen_by_size = fitted(configured, len(train), size, before=before)
        components = self.components = replace(self.components, stages=stages)
        plan = preflight.planned(self.config, components, self.data, device, precision)
        bare = [
            f"model      {components.model.name}, {components.quant.name}, on {device}",
            f"precision  {str(precision.value).removeprefix('torch.')}: {precision.why}",
        ]
        preflight.say_plan(plan, self.say, bare)
        counts = [(stage, len(stage.rows_of(train))) for stage in stages]
        told = (stage.told(count, held_out=len(self.data.splits["val"]) > 0) for stage, count in counts)
        self.say("\n".join([*chosen_by_size, *(f"stage      {line}" for line in told)]))
        keep = (self.config.callbacks.get("checkpoint") or {}).get("keep", 1)  # without it, one per stop
        preflight.check(plan, self.data, self.tokenizer, device, self.run.folder, keep=keep)
        tokens = self.config.micro_batch_tokens or (plan.micro_batch_limit if plan else components.dataset.max_length)
        return choices(configured, stages), [stage.plan(count) for stage, count in counts], tokens

    def _build_module(self, device: torch.device, dtype: torch.dtype, *, micro_batch_tokens: int) -> str | None:
        """Load the net, attach the adapter, and build the module; returns the SHA-256 of the base's weights."""
        components, config = self.components, self.config
        full = isinstance(components.adapter, Full)  # weights in float32; matrix products in the chosen type
        with waiting(f"loading {components.model.name}"):
            net = components.model.load(quant=components.quant, dtype=torch.float32 if full else dtype, device=device)
        if costs := run_mode(net).costs:
            self.say(f"run mode   {components.model.name}: {costs}")
        base = weights_sha256(components.model)
        torch.manual_seed(key(config.seed, "adapter"))
        net = components.adapter.attach(net)
        check_adapter(net)
        if device.type == "cpu":
            malloc_tuning.stock_tiny_blocks()
        self.module = FineTuningModule(
            net,
            optimizer=lambda parameters: build(config.optimizer, parameters=parameters),
            seed=config.seed,
            micro_batch_tokens=micro_batch_tokens,
            max_grad_norm=config.max_grad_norm,
            router_aux_loss=config.router_aux_loss,
            compute_dtype=dtype if full and dtype != torch.float32 else None,
            scales_loss=dtype == torch.float16,
            run=self.run,
            tokenizer=self.tokenizer,
            stop=self.stop,
        )
        return base

    def _say_if_divided_otherwise(self, values: Any) -> None:
        """Print a notice if the run is resumed on another number of devices."""
        if changed := "; ".join(self.run.divided_before(values)):
            dropout = self.config.adapter.get("lora_dropout")
            what = "the random numbers of dropout differ from here on" if dropout else "the same steps up to rounding"
            self.say(f"devices    {changed}: {what}")
            self.run.event("devices_changed", changed=changed)

    def go(self) -> float:
        """Train the remaining stages and print the summary. Returns the best held-out loss."""
        runner = StageRunner(
            module=self.module,
            adapter=self.components.adapter,
            data=self.data,
            new_trainer=self._trainer,
            shown=Shown(**self.config.show),
            stop_when_worse=self.config.on_worse == "stop",
            max_rollbacks=self.config.max_rollbacks,
            num_workers=self.config.num_workers,
            say=self.say,
        )
        with self.stop.deferred() if self.world > 1 else nullcontext():  # all ranks stop at the same point
            results = runner.go(self.components.stages)
        return self._finish(results)

    def _finish(self, results: Sequence[Result]) -> float:
        if not self.run.writes:
            return min(result.metrics["loss"] for result in results)
        took, chosen = time.perf_counter() - self.began, self.components
        summary = summarize(self.run, results, seconds=took, model=chosen.model, dataset=chosen.dataset.name)
        split = self.data.splits["val"]
        prompts = [prompt_of(split.conversation(i))[-1].content for i in range(len(results[0].answers))]
        show(self.console, results, prompts, summary)
        return summary["loss"]

    def _trainer(self, *, callbacks_state: Mapping[str, Any] = MappingProxyType({}), **options: Any) -> pl.Trainer:
        """A Trainer without Lightning's checkpoints, progress bar and sampler, which hafs replaces."""
        _quiet_lightning()
        callbacks = [build(node) for node in self.config.callbacks.values() if node]
        for callback in callbacks:
            if callback.state_key in callbacks_state:
                callback.load_state_dict(callbacks_state[callback.state_key])
        trainer = build(
            self.config.trainer,
            callbacks=callbacks,
            logger=self.logger or False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
            inference_mode=False,
            **options,
        )
        return with_our_signals(trainer)


def _quiet_lightning() -> None:
    """Silence Lightning's advice that does not apply: the data is memory-mapped, and hafs has its own loop."""
    for name in ("utilities.rank_zero", "accelerators.cuda", "trainer.connectors.signal_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.WARNING)
    for advice in ("does not have many workers", "logging interval", "litlogger", "LeafSpec", "ranks is zero"):
        warnings.filterwarnings("ignore", f".*{advice}.*")
