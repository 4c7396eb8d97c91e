"""What callbacks may use of the module they train."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from hafs.chat import Conversation
from hafs.core.signals import StopSignals
from hafs.data.samples import Sample
from hafs.modeling.generation import Answer
from hafs.runs.run_folder import Run
from hafs.training.devices import Devices
from hafs.training.micro_batch_size import MicroBatchSize
from hafs.training.stage import Stage
from hafs.training.step import Cursor, StepFacts


class TrainedModule(Protocol):
    """`FineTuningModule`, as its callbacks see it; a test of a callback may pass anything that fits."""

    net: Any
    """The model of transformers, with its adapter."""
    tokenizer: Any
    run: Run
    """Where checkpoints and events go."""
    stop: StopSignals
    stage: Stage
    """The current stage."""
    stage_steps: int
    """Optimizer steps of the stage."""
    cursor: Cursor
    """The position in the run; it moves at the end of a step."""
    facts: StepFacts
    """The last step."""
    held_out: dict[str, float]
    """The last measurement of the held-out split."""
    micro_batch_size: MicroBatchSize
    updating: bool
    """Whether an optimizer step is running: weights, optimizer and cursor are then inconsistent."""
    rehearsed: bool
    """Whether this process has rehearsed its first step."""
    make_optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    @property
    def on_gpu(self) -> bool:
        """Whether that is a GPU."""
        ...

    @property
    def devices(self) -> Devices:
        """All devices of the run."""
        ...

    def event(self, kind: str, **facts: Any) -> None:
        """Append one line to `events.jsonl`."""

    def save(self) -> None:
        """Write a checkpoint."""

    def save_here(self) -> None:
        """Write a checkpoint, unless this step's was already written."""

    def skip(self, why: str) -> None:
        """Clear the gradients of this step."""

    def leaves_out(self, total: int) -> bool:
        """Whether a rollback skips a step of the run."""
        ...

    def try_out(self, samples: Sequence[Sample], *, with_gradients: Callable[[], object] = ...) -> None:
        """Run one step and one evaluation without changing anything."""

    def note_answers(self, prompts: Sequence[Conversation], answers: Iterable[Answer]) -> None:
        """Write answers to `events.jsonl`."""

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The trainable parameters by name."""
        ...

    def optimizers(self, use_pl_optimizer: Literal[False]) -> Any:
        """The optimizer of the current stage."""

    def to(self, device: torch.device) -> Any:
        """Move the module to a device."""


if TYPE_CHECKING:
    from hafs.training.module import FineTuningModule

    def _fits(module: FineTuningModule) -> TrainedModule:
        return module
