"""The source of an export: a registered model, its unquantized base, and prompts that it was not trained on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafs.chat import Conversation, Message
from hafs.core.errors import DataError, RunError
from hafs.modeling.adapter.folder import CONFIG
from hafs.modeling.base_folder import base_folder, base_sha256
from hafs.modeling.base_model import Model
from hafs.modeling.quantization import Quant
from hafs.registry.registration import HELD_OUT
from hafs.registry.registry import Record, Registry
from hafs.runs import finished


@dataclass(frozen=True, kw_only=True)
class Source:
    """A registered model with everything that an export needs."""

    record: Record
    folder: Path
    """The adapter and what is kept with it."""
    model: Model
    quant: Quant
    """How the base was stored in training."""
    base: Path
    """The base in transformers' format."""
    held_out: list[Conversation]

    @property
    def whole(self) -> bool:
        """Whether every weight was trained, so that there is no adapter."""
        return not (self.folder / CONFIG).exists()


def source(registry: Registry, name: str) -> Source:
    """Find a registered model and its base.

    Raises:
        HafsError: It is not registered, its bytes have changed, or its base is not the one it was trained on.
    """
    record = registry.get(name)
    if not isinstance(record, Record):
        raise RunError(f"{record.name!r} is a mixture", hint=f"export its experts: {', '.join(record.experts)}")
    folder = registry.whole(record)
    built = finished.read(folder).components("model", "quant")
    model, quant = built["model"], built["quant"]
    base = base_folder(model)
    if (found := base_sha256(base)) != record.base_sha256:
        fact = f"the base {record.base!r} in {base} has SHA-256 {found[:12]}, {record.name!r} was trained on"
        raise RunError(f"{fact} {record.base_sha256[:12]}", hint="pin the base's revision, or train again")
    return Source(record=record, folder=folder, model=model, quant=quant, base=base, held_out=_held_out(folder))


def _held_out(folder: Path) -> list[Conversation]:
    path = folder / HELD_OUT
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows: list[Any] = [json.loads(line)["messages"] for line in lines]
    if not rows:
        raise DataError(
            f"there are no held-out prompts in {folder}, so no export can be checked",
            hint="register it again on a machine that has its data",
        )
    return [tuple(map(Message.of_row, row)) for row in rows]
