"""The forms of an export, a class each: how it is written, and what it gives when it is used."""

import json
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from hafs.errors import ConfigError
from hafs.exporting import nets
from hafs.exporting.compare import Partial, Place, of_net
from hafs.exporting.golden import GOLDEN
from hafs.exporting.modelfile import modelfile
from hafs.exporting.serving import serving
from hafs.exporting.source import Source
from hafs.model.gguf import write_adapter, write_model
from hafs.model.gguf.cache import base_file
from hafs.text import render

Kind = Literal["bf16", "f16"]
TORCH = {"bf16": torch.bfloat16, "f16": torch.float16}
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, kw_only=True)
class Used:
    """What an export gave when it was loaded by those who will use it."""

    ids: list[list[int]]
    """Of the golden conversations, each with the next answer due."""
    told: "torch.Tensor | list[Partial]"
    """Next-token distributions at the asked places."""


@dataclass(frozen=True, kw_only=True)
class Form(ABC):
    """A form of export."""

    source: Source
    kind: Kind
    """How matrices are stored."""

    @abstractmethod
    def write(self, folder: Path, net: Any) -> None:
        """Fill an empty folder.

        Args:
            folder: The export's.
            net: The original; it may be used up.
        """

    @abstractmethod
    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load what was written, and ask it."""


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
        return Used(ids=_ids_of(folder), told=of_net(net, asked))


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
        return _served(self.file(folder), None, asked)


class LoraGguf(Form):
    """The adapter alone, for a llama.cpp server that has the base."""

    def write(self, folder: Path, net: Any) -> None:
        """Convert the adapter; the base's own file is in the cache."""
        refuse_whole(self.source, "gguf")
        write_adapter(self.source.folder, self.source.base, self.file(folder))

    def file(self, folder: Path) -> Path:
        """The adapter's file."""
        return folder / f"{self.source.record.name}.lora.gguf"

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Serve the base, and name the adapter in each request."""
        return _served(base_file(self.source.base, self.kind), self.file(folder), asked)


@dataclass(frozen=True, kw_only=True)
class Ollama(LoraGguf):
    """A folder for `ollama create`: Modelfile, base and adapter."""

    parameters: Mapping[str, Any]
    """Of the Modelfile."""

    def write(self, folder: Path, net: Any) -> None:
        """The two files and the Modelfile, whose template is held against the tokenizer's own."""
        super().write(folder, net)
        shutil.copyfile(base_file(self.source.base, self.kind), folder / "base.gguf")
        tokenizer = self.source.model.tokenizer()
        text = modelfile(tokenizer, base="base.gguf", adapter=self.file(folder).name, parameters=self.parameters)
        (folder / "Modelfile").write_text(text, encoding="utf-8")

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Serve the files of the folder."""
        return _served(folder / "base.gguf", self.file(folder), asked)


class Vllm(Form):
    """The adapter's folder and the command line that serves it with vLLM."""

    def write(self, folder: Path, net: Any) -> None:
        """Copy the adapter and the tokenizer, write the command."""
        refuse_whole(self.source, "merged")
        config = json.loads((self.source.folder / "adapter_config.json").read_text(encoding="utf-8"))
        if config.get("use_dora") or config.get("modules_to_save"):
            raise ConfigError("vLLM serves plain LoRA only, this adapter is more", hint="format=merged")
        rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
        if rank > VLLM_RANKS[-1]:
            fact = f"vLLM serves ranks up to {VLLM_RANKS[-1]}, this adapter has {rank}"
            raise ConfigError(fact, hint="format=merged")
        adapter = folder / self.source.record.name
        adapter.mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
            shutil.copy2(self.source.folder / name, adapter / name)
        self.source.model.tokenizer().save_pretrained(adapter)
        (folder / "serve.sh").write_text(self.command(rank), encoding="utf-8")
        (folder / "serve.sh").chmod(0o755)

    def command(self, rank: int) -> str:
        """The script that starts vLLM."""
        name, base = self.source.record.name, self.source.record.base_repo or str(self.source.base)
        room = next(each for each in VLLM_RANKS if each >= rank)
        return (
            "#!/bin/sh\n# requests name the adapter: {\"model\": \"" + name + "\", ...}\n"
            'cd "$(dirname "$0")" || exit 1\n'
            f"exec vllm serve {shlex.quote(base)} --dtype bfloat16 --enable-lora --max-lora-rank {room} \\\n"
            f'  --lora-modules {name}=./{name} "$@"\n'
        )  # fmt: skip

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load the copied adapter as vLLM would: on the unquantized base, in PEFT's format."""
        adapter = folder / self.source.record.name
        net = nets.put_on(nets.load(self.source.base, nets.exact_dtype(self.source.base)), adapter)
        return Used(ids=_ids_of(adapter), told=of_net(net, asked))


def refuse_whole(source: Source, instead: str) -> None:
    """Refuse a model without an adapter.

    Raises:
        ConfigError: Every weight was trained.
    """
    if source.whole:
        raise ConfigError(f"{source.record.name!r} has no adapter, every weight was trained", hint=f"format={instead}")


def _ids_of(folder: Path) -> list[list[int]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [list(render(tokenizer, prompt, for_generation=True).tokens) for prompt in GOLDEN]


def _served(model: Path, adapter: Path | None, asked: Sequence[Place]) -> Used:
    with serving(model, adapter=adapter) as server:
        return Used(ids=[server.ids(prompt) for prompt in GOLDEN], told=server.told(asked))


FORMS: Mapping[str, type[Form]] = {
    "merged": Merged, "gguf": Gguf, "lora_gguf": LoraGguf, "ollama": Ollama, "vllm": Vllm,
}  # fmt: skip
