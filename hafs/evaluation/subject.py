"""The evaluated run: its test split, and its model with the adapter on or off."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from hafs.chat import Conversation
from hafs.core.errors import DataError, RunError
from hafs.data.dataset import Dataset
from hafs.data.prepare import Prepared, prepare
from hafs.data.samples import Split
from hafs.modeling import hardware
from hafs.modeling.adapter import Adapter, Full
from hafs.modeling.base_folder import weights_sha256
from hafs.modeling.base_model import Model
from hafs.modeling.quantization import Quant
from hafs.modeling.weights import cache_folder
from hafs.registry.registry import Record, Registry
from hafs.runs import finished
from hafs.runs.run_folder import Run, same_base

TENSORS = ("adapter_model.safetensors", "model.safetensors")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A finished run."""

    folder: Path
    weights: Path
    """The folder with the trained weights: `adapter/` of a run, the folder itself of a registered model."""
    config: DictConfig
    """As the run recorded it."""
    data: str
    """Fingerprint of the data that the run recorded."""
    base_weights: str | None
    """SHA-256 over the weights of the base that it was trained on; None: not recorded."""
    model: Model
    quant: Quant
    adapter: Adapter
    dataset: Dataset

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    @property
    def base(self) -> str:
        """The base's name and storage."""
        return f"{self.model.name}-{self.quant.name}"

    @property
    def tensors(self) -> Path:
        """The file with the trained tensors."""
        return next(path for name in TENSORS if (path := self.weights / name).exists())

    def sha256(self) -> str:
        """Of that file."""
        with self.tensors.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_run(folder: Path) -> Subject:
    """Read what a finished run recorded; nothing is loaded yet.

    Raises:
        RunError: It is not finished, its adapter is damaged, or its record cannot be read.
    """
    found = finished.finished(folder)
    return Subject(folder=folder, weights=found.adapter, **_built(found))


def open_registered(registry: Registry, record: Record) -> Subject:
    """Read what a registered model's run recorded.

    Raises:
        HafsError: Its files have changed since registration, or the run's record is missing.
    """
    folder = registry.verified(record)
    return Subject(folder=folder, weights=folder, **_built(finished.read(folder)))


def _built(found: finished.Recorded) -> dict[str, Any]:
    components = found.components("model", "quant", "adapter", "dataset")
    return {"config": DictConfig(found.config), "data": found.data, "base_weights": found.base, **components}


# the test split ---------------------------------------------------------------------------------------------------


def data_of(subject: Subject, tokenizer: Any) -> Prepared:
    """The data of a run, as it was trained with.

    Raises:
        DataError: Its files are missing or have changed.
    """
    data = prepare(subject.dataset, tokenizer, seed=subject.config.seed, cache=cache_folder() / "datasets")
    if subject.data not in data.fingerprints(subject.folder):
        fingerprints = f"fingerprint {subject.data} then, {data.fingerprint} now"
        fact = f"the data of {subject.name} has changed since training: {fingerprints}"
        raise DataError(fact, hint="an evaluation needs the files that the run was trained with")
    return data


def held_out(subject: Subject, data: Prepared) -> Split:
    """The test split of a run, after checking that the run never saw it.

    Raises:
        DataError: There is no test split, or one of its rows was in training or in early stopping.
    """
    split = data.splits["test"]
    if not len(split):
        fact = f"dataset {subject.dataset.name!r} has no test split (test_fraction {subject.dataset.test_fraction:g})"
        raise DataError(fact, hint="train with dataset.test_fraction=0.1, under another name=")
    refuse_seen(split, subject, data)
    return split


def refuse_seen(split: Split, subject: Subject, data: Prepared) -> None:
    """Compare the hashes of rows and prompts with everything that a run saw.

    Args:
        split: The rows in question.
        subject: The run; its events list the rows of each step.
        data: The data that it was trained with.

    Raises:
        DataError: A row, or its prompt, was trained on or measured for early stopping.
    """
    steps = Run(subject.folder, writes=False).events("step")
    trained = {row for step in steps for row in step.get("samples") or ()} | set(data.splits["train"].ids[:])
    for rows, what in ((trained, "training"), (set(data.splits["val"].ids[:]), "early stopping")):
        if seen := rows & set(split.ids[:]):
            fact = (
                f"{len(seen)} of {len(split)} test rows were used for {what} by {subject.name}, for example {min(seen)}"
            )
            raise DataError(fact, hint="an evaluation needs unseen rows; train under another name=")
    prompts = {_opening(split.conversation(i)) for i in range(len(split))}
    for name in ("train", "val"):
        seen = data.splits[name]
        alike = sum(_opening(seen.conversation(i)) in prompts for i in range(len(seen)))
        if alike:
            fact = f"{alike} prompts of the test split of {subject.name} are also in its {name} split"
            raise DataError(fact, hint="hafs did not make this split; train again")


def _opening(conversation: Conversation) -> bytes:
    """Hash of the messages before the first answer."""
    prompt = [conversation[0]] if conversation[0].role == "text" else []
    for message in conversation if not prompt else ():
        if message.role == "assistant":
            break
        prompt.append(message)
    return hashlib.blake2b(repr([(m.role, m.content) for m in prompt]).encode(), digest_size=16).digest()


# the model --------------------------------------------------------------------------------------------------------


class SwitchableModel:
    """A base model in memory, with the run's adapter on or off.

    Args:
        subject: The run.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        accelerator = "cpu" if subject.config.trainer.accelerator == "cpu" else "auto"
        self.device = hardware.device(accelerator)
        self.dtype, _ = hardware.precision(subject.config.precision, self.device)
        self.tokenizer = subject.model.tokenizer()
        self.net = subject.model.load(quant=subject.quant, dtype=self.dtype, device=self.device)
        same_base(subject.base_weights, weights_sha256(subject.model), subject.folder)
        self.full = isinstance(subject.adapter, Full)
        if not self.full:
            self.net = subject.adapter.attach(self.net)
            self.take(subject)

    def take(self, subject: Subject) -> None:
        """Put the tensors of a run's adapter into the net.

        Raises:
            RunError: They do not fit, or contain NaN or infinity.
        """
        subject.adapter.load(self.net, subject.weights)
        trained = (p for name, p in self.net.named_parameters() if self.full or "lora_" in name or "modules_" in name)
        if not all(bool(torch.isfinite(p).all()) for p in trained):
            raise RunError(f"the adapter of {subject.name} contains NaN or infinity", hint="train it again")
        self.subject = subject

    def serves(self, subject: Subject) -> bool:
        """Whether another run's adapter fits this base, so that it can replace this one's."""

        def loads(of: Subject) -> tuple[Any, ...]:
            return of.model, of.base_weights, of.quant, of.adapter, of.config.precision

        return loads(self.subject) == loads(subject) and not self.full

    @contextmanager
    def base(self) -> Iterator[Any]:
        """The base alone; for a fully trained run it is only available before `tuned`."""
        with nullcontext() if self.full else self.net.disable_adapter():
            yield self.net

    @contextmanager
    def tuned(self) -> Iterator[Any]:
        """The base with the trained weights."""
        if self.full:
            self.take(self.subject)
        yield self.net
