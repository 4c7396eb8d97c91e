"""The part of the LightningModule that saves, stops and resumes a run."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn

from hafs.core.errors import HafsError
from hafs.core.signals import StopSignals
from hafs.data.parts import PairSplit
from hafs.data.samples import Split
from hafs.runs.run_folder import Run
from hafs.training.best_epoch import BestEpoch
from hafs.training.devices import Devices
from hafs.training.loss_scale import LossScale
from hafs.training.micro_batch_size import MicroBatchSize
from hafs.training.reference import Reference, set_dropout_rates
from hafs.training.rollback import Rollback
from hafs.training.stage import Stage
from hafs.training.step import Cursor


class Resumable(pl.LightningModule):
    """Holds a run's position, writes checkpoints, and stops on request at a point that all devices share.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT, in train mode.
        optimizer: Makes the optimizer from the trainable parameters.
        micro_batch_tokens: Initial maximum tokens of one forward pass (micro-batch size).
        run: Where checkpoints and events go.
        stop: Stop requests by signal.
        scales_loss: Whether products are computed in fp16.
    """

    def __init__(
        self,
        net: Any,
        *,
        optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
        micro_batch_tokens: int,
        run: Run,
        stop: StopSignals,
        scales_loss: bool = False,
    ) -> None:
        super().__init__()
        self.net: Any = net
        self.make_optimizer, self.run, self.stop = optimizer, run, stop
        self.micro_batch_size = MicroBatchSize(micro_batch_tokens, on_shrink=self._note_shrink)
        self.loss_scale = LossScale(enabled=scales_loss, on_shrink=self._note_smaller_scale)
        self.best = BestEpoch(run.checkpoints)
        self.decides = "loss"
        self.reference = Reference({})
        self.cursor = Cursor()
        self.rollbacks: Sequence[Rollback] = ()
        self.held_out: dict[str, float] = {}
        self.held_out_at: tuple[int, int] | None = None
        self._resume_optimizer: dict[str, Any] | None = None
        self._saved_at: int | None = None
        self.rehearsed = False
        """Whether this process has rehearsed its first step."""
        self.updating = False
        """Whether an optimizer step is running: weights, optimizer and cursor are then inconsistent."""

    def cpu(self) -> "Resumable":
        """Stay on the device: Lightning calls this after every fit and validate, and answers are generated next."""
        return self

    @property
    def on_gpu(self) -> bool:
        """Whether the module is on a GPU; Lightning's own property knows CUDA only."""
        return self.device.type != "cpu"

    @property
    def devices(self) -> Devices:
        """The devices of the current Trainer."""
        return Devices(self.trainer)

    def begin(
        self, stage: Stage, index: int, available: int, *, total: int = 0, rollbacks: Sequence[Rollback] = ()
    ) -> None:
        """Start a stage with a new optimizer and schedule.

        Args:
            stage: The stage; the module holds the adapter that it starts from.
            index: Its position in the run, from 1.
            available: Samples, or pairs, in the training split.
            total: Optimizer steps of the run before this stage.
            rollbacks: The stage's rollbacks; each halves the learning rate and names steps to skip.
        """
        self.stage, self.rollbacks = stage, rollbacks
        self.decides = stage.decides
        set_dropout_rates(self.net, off=stage.preference is not None)
        self.reference = Reference(self.trainable() if stage.needs_reference else {})
        self.stage_steps, self.epoch_samples = stage.steps(available), stage.drawn(available)
        self.cursor = Cursor(stage=index, total=total)
        self.held_out_at = None
        self._saved_at, self.updating = None, False
        self.best.restore([])
        self._resume_optimizer = None

    def measured_pairs(self, held_out: Split) -> PairSplit | None:
        """The held-out pairs, if the current stage compares answers."""
        stage: Stage | None = getattr(self, "stage", None)
        return PairSplit(held_out) if stage and stage.preference else None

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by name."""
        return {name: p for name, p in self.net.named_parameters() if p.requires_grad}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """A new optimizer per stage, with the state of the restored checkpoint if there is one."""
        optimizer = self.make_optimizer(list(self.trainable().values()))
        if self._resume_optimizer:
            optimizer.load_state_dict(self._resume_optimizer)
            self._resume_optimizer = None
        return optimizer

    def state(self) -> dict[str, Any]:
        """Everything a resume needs, as tensors and plain builtins, without the frozen base model."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        trainer: Any = self.trainer
        return {
            "cursor": vars(self.cursor).copy(),
            "trained": {name: p.detach() for name, p in self.trainable().items()},
            "optimizer": optimizer.state_dict(),
            "micro_batch_tokens": self.micro_batch_size.tokens,
            "loss_scale": self.loss_scale.state(),
            "stopped": trainer.should_stop,
            "rollbacks": len(self.rollbacks),
            "held_out": dict(self.held_out),
            "held_out_at": list(self.held_out_at or ()),
            "bests": self.best.state(),
            "callbacks": {callback.state_key: callback.state_dict() for callback in trainer.callbacks},
        }

    def save(self) -> None:
        """Write a checkpoint. If it cannot be written, the run continues without it."""
        state = self.state()
        self._saved_at = self.cursor.total
        if not self.run.writes:
            return
        try:
            folder = self.run.checkpoints.save(self.cursor.total, state)
        except OSError as error:
            self.event("save_failed", total=self.cursor.total, why=str(error))
            rank_zero_warn(f"no checkpoint at step {self.cursor.total}: {error}; training continues")
        else:
            self.event("saved", total=self.cursor.total, checkpoint=folder.name)

    def save_here(self) -> None:
        """Write a checkpoint while a stage is training, unless this step's checkpoint was already written."""
        if self.trainer.state.fn == TrainerFn.FITTING and self._saved_at != self.cursor.total:
            self.save()

    def stop_if_asked(self) -> None:
        """Save and stop if any device received a stop request. All devices call this at the same point.

        Raises:
            Interrupted: A device received a stop request.
        """
        if not self.devices.anywhere(bool(self.stop.asked)):
            return
        self.save_here()
        self.event("interrupted", signal=self.stop.asked, total=self.cursor.total)
        raise self.stop.interrupted()

    def on_train_batch_end(self, *_: Any) -> None:
        """Check for a stop request, after the callbacks."""
        self.stop_if_asked()

    def on_validation_batch_end(self, *_: Any) -> None:
        """In the middle of a measurement too: the weights have not changed since the last step."""
        self.stop_if_asked()

    def event(self, kind: str, **facts: Any) -> None:
        """Append one line to `events.jsonl`."""
        self.run.event(kind, **facts)

    def _note_shrink(self, tokens: int, reason: str) -> None:
        self.event("out_of_memory", total=self.cursor.total, micro_batch_tokens=tokens, reason=reason)

    def _note_smaller_scale(self, scale: float) -> None:
        self.event("loss_scale", total=self.cursor.total, scale=scale)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned. On a CPU the next steps are then bit for bit the same as without it.

        Raises:
            HafsError: The state belongs to another model or adapter.
        """
        parameters = self.trainable()
        if parameters.keys() != state["trained"].keys():
            raise HafsError("the checkpoint was made with another adapter", hint="choose another name= for this one")
        with torch.no_grad():
            for name, value in state["trained"].items():
                parameters[name].copy_(value)
        self.cursor = Cursor(**state["cursor"])
        tokens = state["row_tokens"] if "row_tokens" in state else state["micro_batch_tokens"]  # its name in 0.1
        self.micro_batch_size.resume(tokens)
        self.loss_scale.restore(state.get("loss_scale", {}))
        self._resume_optimizer = state["optimizer"]
        self.held_out, self.held_out_at = state["held_out"], tuple(state["held_out_at"]) or None
        self.best.restore(state.get("bests", []))

    @property
    def unmeasured(self) -> bool:
        """Whether an epoch has ended and its measurement is still missing."""
        ended = self.cursor.step > 0 and self.cursor.samples == 0
        return ended and self.held_out_at != (self.cursor.stage, self.cursor.total)

    def _note_held_out(self, means: dict[str, float]) -> None:
        self.held_out, self.held_out_at = means, (self.cursor.stage, self.cursor.total)
        self.best.note(self.cursor, means, self.decides)

    def on_train_epoch_end(self) -> None:
        """After the callbacks: keep a copy of the best weights if no checkpoint holds them."""
        self.best.hold(self.cursor, self.trainable())
        self.stop_if_asked()

    def take_best(self) -> int | None:
        """Load the weights and metrics of the stage's best measured epoch. Returns its number, from 1.

        Raises:
            RollbackRequest: The weights cannot be read.
        """
        best = self.best.take(self.cursor, self.trainable())
        if best is None:
            return None
        self.held_out = dict(best.held_out)
        return best.epoch
