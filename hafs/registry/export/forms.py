"""The export formats, one class each: how it is written, loaded and used."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from hafs.chat import render
from hafs.core.errors import ConfigError
from hafs.modeling.adapter.folder import read_config
from hafs.modeling.gguf import more_than_lora, write_adapter, write_model
from hafs.modeling.gguf.cache import base_file
from hafs.registry.export import nets
from hafs.registry.export.compare import Partial, Place, of_net
from hafs.registry.export.golden import GOLDEN, with_tools
from hafs.registry.export.serving import serving
from hafs.registry.export.source import Source

Kind = Literal["bf16", "f16"]
TORCH = {"bf16": torch.bfloat16, "f16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Used:
    """The results of an export when its target program loads it."""

    ids: list[list[int]]
    """Token ids of the golden conversations, each up to the next answer."""
    tool_ids: list[list[int]]
    """Token ids of the golden conversations with tools."""
    told: "torch.Tensor | list[Partial]"
    """Next-token distributions at the compared positions."""


@dataclass(frozen=True, kw_only=True)
class Form(ABC):
    """A form of export."""

    source: Source
    kind: Kind
    """How matrices are stored."""

    def refuse(self) -> None:
        """Reject a model that cannot be exported in this form, before anything is loaded.

        Raises:
            ConfigError: The model cannot be exported in this form.
        """
        return  # most forms accept any model

    @abstractmethod
    def write(self, folder: Path, net: Any) -> None:
        """Fill an empty folder.

        Args:
            folder: The export's.
            net: The original; it may be modified.
        """

    @abstractmethod
    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load the written export and compute its results."""

    @abstractmethod
    def command(self, folder: Path) -> str:
        """The command that uses the export."""


class Merged(Form):
    """A folder in transformers' format, 16-bit; no PEFT is needed to load it."""

    def write(self, folder: Path, net: Any) -> None:
        """Add the adapter to the base's weights."""
        if not self.source.whole:
            net = net.merge_and_unload(safe_merge=True)
        net = net.to(TORCH[self.kind])
        net.config._name_or_path = ""
        net.config.dtype = TORCH[self.kind]
        net.save_pretrained(folder)
        self.source.model.tokenizer().save_pretrained(folder)

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load it with transformers alone."""
        net = nets.load(folder, nets.exact_dtype(folder))
        return used_by(folder, of_net(net, asked))

    def command(self, folder: Path) -> str:
        """Loading it in Python."""
        return f'AutoModelForCausalLM.from_pretrained("{folder}", dtype="auto")'


class Gguf(Merged):
    """One file that llama.cpp serves."""

    def write(self, folder: Path, net: Any) -> None:
        """Merge, then convert."""
        with TemporaryDirectory(dir=folder.parent, prefix=".draft-merged-") as between:
            super().write(Path(between), net)
            write_model(Path(between), self.file(folder), kind=self.kind, name=self.source.record.name)

    def file(self, folder: Path) -> Path:
        """The model's file."""
        return folder / f"{self.source.record.name}.gguf"

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Serve it."""
        return served(self.source.model.tokenizer(), self.file(folder), None, asked)

    def command(self, folder: Path) -> str:
        """llama.cpp's server."""
        return f"llama-server -m {self.file(folder)}"


class LoraGguf(Form):
    """The adapter alone, for a llama.cpp server that has the base."""

    instead = "format=gguf"
    """The format that accepts any model."""

    def refuse(self) -> None:
        """Reject an adapter that is not a plain LoRA."""
        refuse_whole(self.source, self.instead)
        if extra := more_than_lora(read_config(self.source.folder)):
            fact = f"{self.source.record.name!r} is more than a plain LoRA ({extra}), which llama.cpp cannot load"
            raise ConfigError(fact, hint=f"{self.instead} merges it")

    def write(self, folder: Path, net: Any) -> None:
        """Convert the adapter; the base's own file is in the cache."""
        write_adapter(self.source.folder, self.source.base, self.file(folder))

    def file(self, folder: Path) -> Path:
        """The adapter's file."""
        return folder / f"{self.source.record.name}.lora.gguf"

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Serve the base, and name the adapter in each request."""
        file, tokenizer = base_file(self.source.base, self.kind), self.source.model.tokenizer()
        return served(tokenizer, file, self.file(folder), asked)

    def command(self, folder: Path) -> str:
        """llama.cpp's server, over the base's file in the cache."""
        return f"llama-server -m {base_file(self.source.base, self.kind)} --lora {self.file(folder)}"


def refuse_whole(source: Source, instead: str) -> None:
    """Reject a model without an adapter.

    Raises:
        ConfigError: Every weight was trained.
    """
    if source.whole:
        raise ConfigError(f"{source.record.name!r} has no adapter, every weight was trained", hint=instead)


def used_by(folder: Path, told: torch.Tensor) -> Used:
    """The results of a net whose tokenizer is in a folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids, tool_ids = (
        [list(render(tokenizer, prompt, for_generation=True).tokens) for prompt in prompts]
        for prompts in (GOLDEN, with_tools(tokenizer))
    )
    return Used(ids=ids, tool_ids=tool_ids, told=told)


def served(tokenizer: Any, model: Path, adapter: Path | None, asked: Sequence[Place]) -> Used:
    """The results of a llama.cpp server for a file; `tokenizer` is the model's own."""
    with serving(model, adapter=adapter) as server:
        ids = [server.ids(prompt) for prompt in GOLDEN]
        tool_ids = [server.ids(prompt) for prompt in with_tools(tokenizer)]
        return Used(ids=ids, tool_ids=tool_ids, told=server.told(asked))
