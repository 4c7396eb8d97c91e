"""The LightningModule: one batch is one optimizer step, divided into micro-batches that fit in memory.

One step, with gradient accumulation, in order:

    samples of the whole effective batch arrive
    packed into sequences of at most `micro_batch_tokens` tokens      packing.pack
    for each packed sequence: forward, loss / supervised tokens of the step, backward
        out of memory: clear the gradients, halve the micro-batch size, repeat with the same samples
    gradients are summed over devices and clipped
    the learning rate of this step is set
    on_before_optimizer_step                                  the loss guard may clear the gradients
    optimizer.step
    the cursor moves past the samples
    on_train_batch_end                                        the other callbacks, as conf/callbacks/default.yaml orders
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from hafs.chat import Conversation
from hafs.core.signals import StopSignals
from hafs.data.samples import AnswerPair, Sample
from hafs.modeling import out_of_memory
from hafs.modeling.adapter.lora_forward import cast_once
from hafs.modeling.generation import Answer
from hafs.modeling.loss import TokenLoss, token_loss
from hafs.modeling.packing import PackedSequence, pack, packed_sequence, supervised_states, supervised_tokens
from hafs.modeling.preference import PackedPairs, PairNats, pair_nats
from hafs.runs.run_folder import Run
from hafs.training.held_out import HeldOutTotals
from hafs.training.resumable import Resumable
from hafs.training.rollback import RollbackRequest
from hafs.training.router_loss import RouterLoss
from hafs.training.stage import key, learning_rate
from hafs.training.step import StepFacts

_Result = TypeVar("_Result")


class FineTuningModule(Resumable):
    """Trains the parameters of `net` that require a gradient. The division into micro-batches does not change a step.

    Args:
        net: A causal language model of transformers, possibly wrapped by PEFT, in train mode.
        optimizer: Makes the optimizer from the trainable parameters.
        seed: Seed of all random numbers.
        micro_batch_tokens: Maximum tokens of one forward pass (micro-batch size).
        max_grad_norm: Gradients above this norm are scaled down to it; None: not clipped.
        run: Where checkpoints and events go.
        tokenizer: The model's tokenizer, for callbacks that generate.
        stop: Stop requests by signal.
        compute_dtype: The type for autocast; None: no autocast.
        scales_loss: Whether products are computed in fp16, whose gradients need a scaled loss.
        router_aux_loss: Weight of the load-balancing loss of a mixture of experts; None: no such loss.
    """

    def __init__(
        self,
        net: Any,
        *,
        optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
        seed: int,
        micro_batch_tokens: int,
        max_grad_norm: float | None,
        run: Run,
        tokenizer: Any,
        stop: StopSignals,
        compute_dtype: torch.dtype | None = None,
        scales_loss: bool = False,
        router_aux_loss: float | None = None,
    ) -> None:
        super().__init__(
            net, optimizer=optimizer, micro_batch_tokens=micro_batch_tokens, run=run, stop=stop, scales_loss=scales_loss
        )
        self.automatic_optimization = False
        self.seed, self.max_grad_norm = seed, max_grad_norm
        self.compute_dtype, self.tokenizer = compute_dtype, tokenizer
        self.router_loss = RouterLoss(net, router_aux_loss)
        self.facts: StepFacts

    def note_answers(self, prompts: Sequence[Conversation], answers: Iterable[Answer]) -> None:
        """Write answers to `events.jsonl`, for comparison over time."""
        for prompt, said in zip(prompts, answers, strict=False):
            self.event(
                "generation", total=self.cursor.total, prompt=prompt[-1].content, answer=said.text, ended=said.ended
            )

    # a step -----------------------------------------------------------------------------------------------------

    def training_step(self, samples: Sequence[Sample], _: int) -> None:
        """Train on one effective batch."""
        optimizer: Any = self.optimizers()
        loss, rows = self._all_gradients(samples)
        units, pairs = units_of(samples), self.stage.preference is not None
        rate = learning_rate(self.stage, step=self.cursor.step, steps=self.stage_steps) / 2 ** len(self.rollbacks)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.facts = StepFacts(
            stage=self.stage.name,
            epoch=self.cursor.epoch,
            step=self.cursor.step,
            total=self.cursor.total,
            samples=[sample.id for sample in samples],
            loss=float(loss.nats) / units,
            accuracy=int(loss.correct) / units,
            reward_margin=float(loss.margin) / units if pairs else None,
            grad_norm=self.devices.clipped_norm(self.trainable().values(), self.max_grad_norm),
            lr=rate,
            tokens=sum(len(sample.tokens) for sample in samples),
            supervised=max(1, supervised_tokens(samples)),
            rows=rows,
        )
        self.updating = True
        self._update(optimizer, samples)
        self.cursor = self.cursor.after(len(samples), of=self.epoch_samples)
        self.updating = False

    def _update(self, optimizer: Any, samples: Sequence[Sample]) -> None:
        """Apply the optimizer step.

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
        """Whether a rollback skips a step of the run, counted from zero."""
        return any(rollback.leaves_out(total) for rollback in self.rollbacks)

    def skip(self, why: str) -> None:
        """Clear the gradients of this step. For callbacks in `on_before_optimizer_step`."""
        self.zero_grad(set_to_none=True)
        self.facts = replace(self.facts, skipped=why)

    def _within_memory(self, samples: Sequence[Sample], attempt: Callable[[Sequence[Sample]], _Result]) -> _Result:
        return self.micro_batch_size.fitting(
            samples, attempt, anywhere=self.devices.anywhere, forget=partial(self.zero_grad, set_to_none=True)
        )

    def try_out(self, samples: Sequence[Sample], *, with_gradients: Callable[[], object] = lambda: None) -> None:
        """Run one step and one evaluation without changing anything, to check that they fit in memory.

        Args:
            samples: The step's samples.
            with_gradients: Called before the gradients are cleared.
        """
        self._all_gradients(samples)
        with_gradients()
        self.zero_grad(set_to_none=True)
        with torch.no_grad():
            self._within_memory(samples, self._loss_of_samples)

    def _all_gradients(self, samples: Sequence[Sample]) -> tuple[TokenLoss, int]:
        """Loss and gradients of the step over all devices; computed again where fp16 overflows."""
        while True:
            loss, rows = self._within_memory(samples, self._gradients)
            self.devices.sum_gradients(self.trainable().values())
            loss = self.devices.summed(loss)
            if not self.loss_scale.enabled:
                return loss, rows
            gradients = [p.grad for p in self.trainable().values() if p.grad is not None]
            if self.loss_scale.unscaled(gradients, float(loss.nats)):
                return loss, rows
            self.zero_grad(set_to_none=True)

    def _gradients(self, samples: Sequence[Sample]) -> tuple[TokenLoss, int]:
        """Accumulate the gradients of the step's mean loss over its packed sequences."""
        rows = self.rows(samples)
        units = units_of(samples)
        mine = self.devices.share(rows)
        total = TokenLoss.nothing(self.device)
        with self.devices.local_gradients(), cast_once(self.net, enabled=self.on_gpu):
            for j, (packed, weight) in enumerate(mine):
                torch.manual_seed(
                    key(self.seed, self.stage.name, self.cursor.epoch, self.cursor.step, j, self.global_rank)
                )
                with self.router_loss.watching() as balance:
                    part = self.loss_of(packed.to(self.device))
                scale = weight * self.devices.gradient_scale() * self.loss_scale.value / units
                self.manual_backward((part.nats + balance(packed.units)) * scale)
                total = total.plus(part, weight)
                del part  # frees this sequence's graph before the next forward pass
        return total, len(mine)

    def loss_of(self, packed: PackedSequence) -> TokenLoss:
        """The loss of one packed sequence, summed over its supervised tokens or its pairs.

        Only the supervised positions are projected to logits.
        """
        if isinstance(packed, PackedPairs):
            return self._loss_of_pairs(packed)
        with self._autocast():
            hidden_ND, head = supervised_states(self.net, packed)
            head = head.to(hidden_ND.dtype)
        return token_loss(hidden_ND, head, packed.target_N)

    def _loss_of_pairs(self, packed: PackedPairs) -> TokenLoss:
        preference, reference = self.stage.preference, None
        assert preference is not None
        if preference.needs_reference:
            with torch.no_grad(), self.reference.weights(self.trainable()):
                reference = self._nats_of_pairs(packed)
        return preference.of(packed, self._nats_of_pairs(packed), reference)

    def _nats_of_pairs(self, packed: PackedPairs) -> PairNats:
        with self._autocast():
            return pair_nats(self.net, packed)

    def rows(self, samples: Sequence[Sample]) -> Sequence[PackedSequence]:
        """Pack samples into sequences of at most `micro_batch_tokens` tokens."""
        lengths = [len(sample.tokens) for sample in samples]
        groups = pack(lengths, self.micro_batch_size.tokens, at_least=min(self.devices.world, len(samples)))
        if pairs := [each for each in samples if isinstance(each, AnswerPair)]:
            assert self.stage.preference is not None
            return self.stage.preference.pack(pairs, groups)
        return [packed_sequence([samples[i] for i in group]) for group in groups]

    def _autocast(self) -> Any:
        if self.compute_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute_dtype)

    # the held-out split -----------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Start the measurement."""
        self._measuring, self._measuring_pairs = HeldOutTotals(self.device), HeldOutTotals(self.device)

    def validation_step(self, samples: Sequence[Sample], _: int) -> None:
        """Add the loss of some held-out samples."""
        loss = self._within_memory(samples, self._loss_of_samples)
        totals = self._measuring_pairs if isinstance(samples[0], AnswerPair) else self._measuring
        totals.add(loss, units_of(samples))

    def _loss_of_samples(self, samples: Sequence[Sample]) -> TokenLoss:
        total = TokenLoss.nothing(self.device)
        for packed, weight in self.devices.share(self.rows(samples)):
            total = total.plus(self.loss_of(packed.to(self.device)), weight)
        return total

    def on_validation_epoch_end(self) -> None:
        """Compute the means and log them."""
        means = self._measuring.means(self.devices.summed(self._measuring.loss))
        if self._measuring_pairs.units:
            means |= self._measuring_pairs.pair_means(self.devices.summed(self._measuring_pairs.loss))
        self._note_held_out(means)
        decides = self.held_out.get(self.decides, self.held_out["loss"])
        self.log("val_loss", decides, logger=False, sync_dist=self.trainer.world_size > 1)

    def nothing_held_out(self) -> None:
        """Record that the held-out split is empty."""
        self._note_held_out(HeldOutTotals(self.device).means(TokenLoss.nothing(self.device)))

    def on_validation_model_eval(self) -> None:
        """Switch all dropout off."""
        set_dropout(self.net, training=False)

    def on_validation_model_train(self) -> None:
        """Switch dropout on again."""
        set_dropout(self.net, training=True)


def units_of(samples: Sequence[Any]) -> int:
    """What the loss of a step is divided by: its supervised tokens, or its pairs."""
    if isinstance(samples[0], AnswerPair):
        return len(samples)
    return max(1, supervised_tokens(samples))


def set_dropout(net: torch.nn.Module, *, training: bool) -> None:
    """Switch all randomness between training and inference: dropout layers, attention dropout, router jitter.

    Layers of bitsandbytes are left alone: 4-bit layers repack their weights in eval mode on some CPUs.
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    for module in net.modules():
        if not isinstance(module, Linear4bit | Linear8bitLt):
            module.training = training
