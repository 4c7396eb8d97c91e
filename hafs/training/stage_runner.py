"""Runs the stages of a run in order. Each starts from the adapter of the last kept stage; a worse one is not kept."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from hafs.core import durable
from hafs.core.errors import Diverged, RunError
from hafs.core.failpoints import failpoint
from hafs.data.prepare import Prepared
from hafs.modeling.adapter import Adapter
from hafs.training.loader import StageData, held_out_loader
from hafs.training.module import FineTuningModule
from hafs.training.result import Result
from hafs.training.rollback import Rollback, RollbackLog, RollbackRequest
from hafs.training.shown_answers import Shown, shown_answers
from hafs.training.stage import Stage

BASE = "base"
"""Name of the measurement before the first stage. Its folder holds the untrained adapter."""
_NOTHING_HELD_OUT = "not measured, the validation split is empty"


class StageRunner:
    """Trains every stage that is not finished yet.

    Args:
        module: The LightningModule that trains.
        adapter: Saves and loads the trained parameters.
        data: The splits.
        new_trainer: Makes a Trainer with new callbacks. Takes `callbacks_state` and Lightning's own arguments.
        shown: Which prompts are answered after each stage.
        stop_when_worse: Skip the remaining stages after a stage that increased the held-out loss.
        max_rollbacks: Maximum number of rollbacks per stage.
        num_workers: Worker processes of the data loader.
        say: Prints one line of progress.
    """

    def __init__(
        self,
        *,
        module: FineTuningModule,
        adapter: Adapter,
        data: Prepared,
        new_trainer: Callable[..., pl.Trainer],
        shown: Shown,
        stop_when_worse: bool,
        max_rollbacks: int,
        num_workers: int,
        say: Callable[[str], None],
    ) -> None:
        self.module, self.adapter, self.run = module, adapter, module.run
        self.train, self.held_out = data.splits["train"], data.splits["val"]
        self.new_trainer, self.shown, self.say = new_trainer, shown, say
        self.stop_when_worse, self.max_rollbacks, self.num_workers = stop_when_worse, max_rollbacks, num_workers
        self.rollbacks = RollbackLog(module.run.folder)
        self.run.checkpoints.tell = self._told

    def go(self, stages: Sequence[Stage]) -> list[Result]:
        """Train every stage that is not finished yet.

        Returns:
            The results of all stages, the base model's first. The module holds the adapter of the last kept stage.
        """
        self._told_of = {event.get("stage") for event in self.run.events("stage_finished")}
        results = [self._finished(0, BASE) or self._measure_base()]
        best = 0
        for index, stage in enumerate(stages, start=1):
            result = self._finished(index, stage.name)
            if result is None:
                result = self._train(index, stage, start=results[best], best=best, total=results[-1].total)
            results.append(result)
            if result.kept:
                best = index
            elif self.stop_when_worse:
                break
        self._load(best, results[best].name)
        return results

    # one stage --------------------------------------------------------------------------------------------------

    def _measure_base(self) -> Result:
        if len(self.held_out):
            self.say("measuring the base model on the held-out split")
        return self._close(0, BASE, self.new_trainer(), {}, bar=float("inf"))

    def _train(self, index: int, stage: Stage, *, start: Result, best: int, total: int) -> Result:
        """Train a stage from the adapter of stage `best` or its own newest checkpoint; repeat after each rollback."""
        while True:
            self._load(best, start.name)
            rollbacks = self.rollbacks.of(index)
            self._tell_of(rollbacks, stage.name)
            self.module.begin(stage, index, len(stage.rows_of(self.train)), total=total, rollbacks=rollbacks)
            trainer, data = self._resumed(stage, begun=total)
            try:
                if data is not None:
                    self.run.event("stage_started", stage=stage.name, total=self.module.cursor.total)
                    with self.module.stop.deferred():
                        trainer.fit(self.module, datamodule=data)
                epoch = self._take_best(stage, trainer)
            except RollbackRequest as request:
                self._go_back(request, total, tries_left=self.max_rollbacks - len(rollbacks))
                continue
            trained = self._trained(stage.name)
            bar = start.metrics["loss"] if stage.decides == "loss" else math.log(2)  # DPO before its first step
            return self._close(index, stage.name, trainer, trained, bar=bar, epoch=epoch)

    def _take_best(self, stage: Stage, trainer: pl.Trainer) -> int | None:
        """Load the weights of the best epoch. Returns its number, from 1; None if only one epoch was measured."""
        self._measure_now(trainer)
        epoch = self.module.take_best()
        return epoch if stage.validation == "epoch" and stage.epochs > 1 and len(self.held_out) else None

    def _resumed(self, stage: Stage, *, begun: int) -> tuple[pl.Trainer, StageData | None]:
        """A Trainer and its data at the stage's newest checkpoint. No data if the stage had already ended."""
        module = self.module
        checkpoint = self._newest(begun)
        if checkpoint:
            module.restore(checkpoint)
        ended = bool(checkpoint.get("stopped")) or module.cursor.epoch >= stage.epochs
        trainer = self.new_trainer(
            callbacks_state=checkpoint.get("callbacks", {}),
            max_epochs=max(1, stage.epochs - module.cursor.epoch),
            check_val_every_n_epoch=1 if stage.validation == "epoch" else stage.epochs + 1,
        )
        if not ended and stage.validation == "epoch" and module.unmeasured:
            self._measure(trainer)
            ended = trainer.should_stop
        data = StageData(
            stage,
            train=stage.rows_of(self.train),
            held_out=self.held_out,
            pairs=self.module.measured_pairs(self.held_out),
            seed=module.seed,
            epoch=module.cursor.epoch,
            done=module.cursor.samples,
            num_workers=self.num_workers,
        )
        return trainer, None if ended else data

    def _told(self, kind: str, **facts: Any) -> None:
        """Report a damaged checkpoint that was renamed."""
        self.run.event(kind, **facts)
        self.say(f"{facts['checkpoint']} is damaged ({facts['why']}); it was renamed to {facts['kept_as']}")

    def _measure_now(self, trainer: pl.Trainer) -> None:
        """Measure the held-out loss, unless it was already measured at this step."""
        if self.module.held_out_at != (self.module.cursor.stage, self.module.cursor.total):
            self._measure(trainer)

    def _measure(self, trainer: pl.Trainer) -> None:
        """Measure the held-out loss of the module's current weights."""
        if len(self.held_out):
            trainer.validate(
                self.module,
                dataloaders=held_out_loader(self.held_out, self.module.measured_pairs(self.held_out)),
                verbose=False,
            )
        else:
            self.module.nothing_held_out()

    def _newest(self, begun: int) -> dict[str, Any]:
        """Read the state of the stage's newest checkpoint; empty if there is none.

        A crash may have left checkpoints that a rollback discarded. They are removed here.

        Raises:
            RunError: The checkpoint was written after a rollback that is not recorded.
        """
        rollbacks = self.module.rollbacks
        while found := self.run.checkpoints.newest(after=begun):
            folder, state = found
            if state["rollbacks"] > len(rollbacks):
                raise RunError(
                    f"{folder.name} was written after a rollback that is missing from {self.rollbacks.path}",
                    hint="restore that file from a backup",
                )
            if state["rollbacks"] == len(rollbacks) or state["cursor"]["total"] <= rollbacks[-1].to:
                self.run.event("resumed", checkpoint=folder.name, total=state["cursor"]["total"])
                self.say(f"continuing from {folder.name}")
                return state
            self.run.checkpoints.clear(after=rollbacks[-1].to)
        return {}

    def _go_back(self, request: RollbackRequest, start: int, *, tries_left: int) -> None:
        """Choose the checkpoint to resume from and remove the later ones.

        Raises:
            Diverged: No rollbacks are left.
        """
        module = self.module
        stage, now = module.stage.name, module.cursor.total
        kept = [step for step in self.run.checkpoints.steps() if step <= request.healthy]
        to = max(kept, default=start)
        if request.left_out and not tries_left:
            raise Diverged(
                f"stage {stage!r} diverged at step {now} and no rollbacks are left: {request.why}",
                hint=f"lower stage.{stage}.lr or max_grad_norm, with another name=; earlier stages are kept",
            )
        if self.run.writes:
            if request.left_out:
                self.rollbacks.decide(
                    Rollback(stage=module.cursor.stage, to=to, why=request.why, left_out=request.left_out)
                )
            self.run.checkpoints.clear(after=to)
        module.devices.barrier()
        if not request.left_out:
            self._note_rollback(stage, now, to=to, left_out=None, rollbacks=len(module.rollbacks), why=request.why)

    def _tell_of(self, rollbacks: Sequence[Rollback], stage: str) -> None:
        """Log a stage's rollbacks, including those that a crash kept from being logged."""
        if not rollbacks:
            return
        told = sum(e.get("stage") == stage and bool(e.get("left_out")) for e in self.run.events("rollback"))
        for number, decision in enumerate(rollbacks[told:], start=told + 1):
            first, last = decision.left_out
            self._note_rollback(
                stage, last + 1, to=decision.to, left_out=(first, last), rollbacks=number, why=decision.why
            )

    def _note_rollback(
        self, stage: str, now: int, *, to: int, left_out: tuple[int, int] | None, rollbacks: int, why: str
    ) -> None:
        rate = 0.5**rollbacks
        self.run.event("rollback", stage=stage, total=now, to=to, left_out=left_out, rate=rate, why=why)
        self.say(f"{stage}: rollback from step {now} to {to}, learning rate x {rate:g}: {why}")

    def _trained(self, name: str) -> Mapping[str, float]:
        """Sums over the stage's steps. A step that was repeated after a crash counts once."""
        steps = {event.get("step"): event for event in self.run.events("step") if event.get("stage") == name}
        return {key: sum(e.get(key) or 0 for e in steps.values()) for key in ("tokens", "supervised", "seconds")} | {
            "steps": len(steps)
        }

    def _close(
        self,
        index: int, name: str, trainer: pl.Trainer, trained: Mapping[str, float], *, bar: float,
        epoch: int | None = None,
    ) -> Result:  # fmt: skip
        """Measure the stage, decide whether to keep it, and write its folder. `bar` is the highest loss to keep."""
        self._measure_now(trainer)
        answers, length = shown_answers(self.module, self.held_out, self.shown)
        metrics = self.module.held_out | {"answer_tokens": length} | {f"train_{k}": v for k, v in trained.items()}
        decides = self.module.decides
        measured = len(self.held_out) and decides in metrics
        kept = index == 0 or not measured or metrics[decides] <= (math.inf if math.isnan(bar) else bar)
        cursor = self.module.cursor
        result = Result(
            name=name,
            kept=kept,
            metrics=metrics,
            answers=answers,
            total=cursor.total,
            epoch=epoch,
            epochs=epoch and cursor.epoch,
        )
        trainer.strategy.barrier()
        if self.run.writes:
            durable.commit(self.run.stage_folder(index, name), lambda draft: self._write(draft, result))
            failpoint("stage.closed", name)
            self.run.checkpoints.clear()
        trainer.strategy.barrier()
        for logger in trainer.loggers:
            logger.log_metrics({f"stage/{key}": value for key, value in metrics.items()}, step=result.total)
            logger.finalize("success")
        failpoint("stage.cleared", name)
        self._note_finished(result)
        verdict = "" if kept else f", {decides.replace('_', ' ')} above {bar:.4f}: its adapter is not used"
        taken = f" ({result.of_epoch})" if epoch else ""
        loss = f"{metrics['loss']:.4f}" if len(self.held_out) else _NOTHING_HELD_OUT
        self.say(f"{name}: held-out loss {loss}{taken}{result.of_pairs}{verdict}")
        return result

    def _write(self, draft: Path, result: Result) -> None:
        self.adapter.save(self.module.net, draft / "adapter")
        (draft / "stage.json").write_text(json.dumps(asdict(result), indent=1))

    def _finished(self, index: int, name: str) -> Result | None:
        note = self.run.finished(index, name)
        if note is None:
            return None
        result = Result(**note)
        if name not in self._told_of:  # the process was killed after writing the folder, before logging it
            self._note_finished(result)
        return result

    def _note_finished(self, result: Result) -> None:
        epoch = {"epoch": result.epoch, "epochs": result.epochs} if result.epoch else {}
        facts = epoch | dict(result.metrics)
        self.run.event("stage_finished", stage=result.name, total=result.total, kept=result.kept, **facts)

    def _load(self, index: int, name: str) -> None:
        self.adapter.load(self.module.net, self.run.stage_folder(index, name) / "adapter")
