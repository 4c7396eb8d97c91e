"""The LightningModule: one batch is one optimizer step, whatever fits in memory at once.

A step, with every event in its place:

    samples of the whole effective batch arrive
    packed into rows of at most `row_tokens`                  packing.pack
    for each row: forward, loss / supervised tokens of the step, backward
        out of memory: forget the gradients, halve `row_tokens`, the same samples again
    gradients are summed over devices and clipped
    the stage's learning rate of this step is set
    on_before_optimizer_step                                  the loss guard may empty the gradients
    optimizer.step
    the cursor moves past the samples
    on_train_batch_end                                        journal, checkpoint, pause, ...
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from hafs.chat import Conversation
from hafs.core.signals import StopSignals
from hafs.data.samples import Sample
from hafs.modeling import out_of_memory
from hafs.modeling.generation import Answer
from hafs.modeling.loss import TokenLoss, token_loss
from hafs.modeling.packing import PackedSequence, pack, packed_sequence, supervised_states, supervised_tokens
from hafs.runs.run_folder import Run
from hafs.training.held_out import HeldOutTotals
from hafs.training.resumable import Resumable
from hafs.training.rollback import RollbackRequest
from hafs.training.stage import key, learning_rate
from hafs.training.step import StepFacts

_Result = TypeVar("_Result")


class FineTuningModule(Resumable):
    """Trains what requires a gradient in `net`, in steps that any split into rows leaves the same.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT, in train mode.
        optimizer: Makes the optimizer from the trainable parameters.
        seed: Of everything random.
        row_tokens: Tokens of one forward pass.
        max_grad_norm: Gradients above this norm are scaled down to it; None: not clipped.
        run: Where checkpoints and events go.
        tokenizer: Of the model, for callbacks that generate.
        stop: Whether somebody asked to stop.
        compute_dtype: For autocast where the weights are wider than the products should be; None: no autocast.
    """

    def __init__(
        self,
        net: Any,
        *,
        optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
        seed: int,
        row_tokens: int,
        max_grad_norm: float | None,
        run: Run,
        tokenizer: Any,
        stop: StopSignals,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(net, optimizer=optimizer, row_tokens=row_tokens, run=run, stop=stop)
        self.automatic_optimization = False
        self.seed, self.max_grad_norm = seed, max_grad_norm
        self.compute_dtype, self.tokenizer = compute_dtype, tokenizer
        self.facts: StepFacts

    def note_answers(self, prompts: Sequence[Conversation], answers: Iterable[Answer]) -> None:
        """Write answers to `events.jsonl`, to be read beside those of other moments."""
        for prompt, said in zip(prompts, answers, strict=False):
            self.event(
                "generation", total=self.cursor.total, prompt=prompt[-1].content, answer=said.text, ended=said.ended
            )

    # a step -----------------------------------------------------------------------------------------------------

    def training_step(self, samples: Sequence[Sample], _: int) -> None:
        """Learn from one effective batch."""
        optimizer: Any = self.optimizers()
        loss, rows = self._within_memory(samples, self._gradients)
        self.devices.sum_gradients(self.trainable().values())
        loss = self.devices.summed(loss)
        supervised = max(1, supervised_tokens(samples))
        rate = learning_rate(self.stage, step=self.cursor.step, steps=self.stage_steps) / 2 ** len(self.rollbacks)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.facts = StepFacts(
            stage=self.stage.name,
            epoch=self.cursor.epoch,
            step=self.cursor.step,
            total=self.cursor.total,
            samples=[sample.id for sample in samples],
            loss=float(loss.nats) / supervised,
            accuracy=int(loss.correct) / supervised,
            grad_norm=self.devices.clipped_norm(self.trainable().values(), self.max_grad_norm),
            lr=rate,
            tokens=sum(len(sample.tokens) for sample in samples),
            supervised=supervised,
            rows=rows,
        )
        self.updating = True
        self._update(optimizer, samples)
        self.cursor = self.cursor.after(len(samples), of=self.epoch_samples)
        self.updating = False

    def _update(self, optimizer: Any, samples: Sequence[Sample]) -> None:
        """Let the optimizer change the weights.

        Raises:
            RollbackRequest: Memory ran out, maybe in the middle of the update; only a checkpoint is safe.
        """
        reason = ""
        try:
            optimizer.step()
        except Exception as error:
            if not out_of_memory.is_out_of_memory(error):
                raise
            reason = out_of_memory.reason(error)
        optimizer.zero_grad(set_to_none=True)
        if self.devices.anywhere(bool(reason)):
            self.micro_batch_size.shrink(samples, reason)
            raise RollbackRequest(f"out of memory in the optimizer: {reason}", healthy=self.cursor.total, left_out=None)

    def leaves_out(self, total: int) -> bool:
        """Whether a rollback decided not to learn from a step of the run, counted from zero."""
        return any(rollback.leaves_out(total) for rollback in self.rollbacks)

    def skip(self, why: str) -> None:
        """Keep the gradients of this step from being applied; for callbacks in `on_before_optimizer_step`."""
        self.zero_grad(set_to_none=True)
        self.facts = replace(self.facts, skipped=why)

    def _within_memory(self, samples: Sequence[Sample], attempt: Callable[[Sequence[Sample]], _Result]) -> _Result:
        return self.micro_batch_size.fitting(
            samples, attempt, anywhere=self.devices.anywhere, forget=partial(self.zero_grad, set_to_none=True)
        )

    def try_out(self, samples: Sequence[Sample], *, with_gradients: Callable[[], object] = lambda: None) -> None:
        """One step and one evaluation that change nothing, to see that they fit in memory.

        Args:
            samples: Of the step.
            with_gradients: Called while the gradients are there.
        """
        self._within_memory(samples, self._gradients)
        with_gradients()
        self.zero_grad(set_to_none=True)
        with torch.no_grad():
            self._within_memory(samples, self._loss_of_samples)

    def _gradients(self, samples: Sequence[Sample]) -> tuple[TokenLoss, int]:
        """Accumulate the gradients of the step's mean loss, row by row; the same for any split into rows."""
        rows = self.rows(samples)
        supervised = max(1, supervised_tokens(samples))
        mine = self.devices.share(rows)
        total = TokenLoss.nothing(self.device)
        with self.devices.local_gradients():
            for j, (packed, weight) in enumerate(mine):
                torch.manual_seed(
                    key(self.seed, self.stage.name, self.cursor.epoch, self.cursor.step, j, self.global_rank)
                )
                part = self.loss_of(packed.to(self.device))
                self.manual_backward(part.nats * (weight * self.devices.gradient_scale() / supervised))
                total = total.plus(part, weight)
                del part  # else this row's graph lives into the next one, spread over the memory that that one needs
        return total, len(mine)

    def loss_of(self, packed: PackedSequence) -> TokenLoss:
        """The loss of one row, summed over its supervised tokens; only those are projected onto the vocabulary."""
        with self._autocast():
            hidden_ND, head = supervised_states(self.net, packed)
            head = head.to(hidden_ND.dtype)
        return token_loss(hidden_ND, head, packed.target_N)

    def rows(self, samples: Sequence[Sample]) -> list[PackedSequence]:
        """Samples as rows of at most `row_tokens`."""
        lengths = [len(sample.tokens) for sample in samples]
        groups = pack(lengths, self.micro_batch_size.tokens, at_least=min(self.devices.world, len(samples)))
        return [packed_sequence([samples[i] for i in group]) for group in groups]

    def _autocast(self) -> Any:
        if self.compute_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute_dtype)

    # the held-out split -----------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self._measuring = HeldOutTotals(self.device)

    def validation_step(self, samples: Sequence[Sample], _: int) -> None:
        """Add up the loss of some held-out samples."""
        loss = self._within_memory(samples, self._loss_of_samples)
        self._measuring.add(loss, supervised_tokens(samples))

    def _loss_of_samples(self, samples: Sequence[Sample]) -> TokenLoss:
        total = TokenLoss.nothing(self.device)
        for packed, weight in self.devices.share(self.rows(samples)):
            total = total.plus(self.loss_of(packed.to(self.device)), weight)
        return total

    def on_validation_epoch_end(self) -> None:
        """Turn sums into means and log them."""
        self._note_held_out(self._measuring.means(self.devices.summed(self._measuring.loss)))
        self.log("val_loss", self.held_out["loss"], logger=False, sync_dist=self.trainer.world_size > 1)

    def nothing_held_out(self) -> None:
        """Note that there is nothing to measure with."""
        self._note_held_out(HeldOutTotals(self.device).means(TokenLoss.nothing(self.device)))

    def on_validation_model_eval(self) -> None:
        """Dropout of every kind off."""
        set_dropout(self.net, training=False)

    def on_validation_model_train(self) -> None:
        """Dropout on again."""
        set_dropout(self.net, training=True)


def set_dropout(net: torch.nn.Module, *, training: bool) -> None:
    """Switch all that is random between training and inference: dropout layers, attention's, routers' jitter.

    Layers of bitsandbytes stay as they are: 4-bit ones repack their weights in eval mode on some CPUs.
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    for module in net.modules():
        if not isinstance(module, Linear4bit | Linear8bitLt):
            module.training = training
