"""For Ollama: a folder with a Modelfile, over base and adapter or over one merged file."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafs.modeling.gguf.cache import base_file
from hafs.registry.export.compare import Place
from hafs.registry.export.forms import Gguf, LoraGguf, Used, served
from hafs.registry.export.modelfile import modelfile


@dataclass(frozen=True, kw_only=True)
class OllamaExport(LoraGguf):
    """A folder for `ollama create`: Modelfile, base and adapter."""

    parameters: Mapping[str, Any]
    """Of the Modelfile."""
    instead = "ollama.adapter=false"

    def refuse(self) -> None:
        """Reject an adapter that is not a plain LoRA, and a Modelfile that Ollama would reject."""
        super().refuse()
        self.text()

    def text(self) -> str:
        """The Modelfile; its template is compared with the tokenizer's own."""
        tokenizer, adapter = self.source.model.tokenizer(), self.file(Path()).name
        return modelfile(tokenizer, model="base.gguf", adapter=adapter, parameters=self.parameters)

    def write(self, folder: Path, net: Any) -> None:
        """The two files and the Modelfile."""
        super().write(folder, net)
        shutil.copyfile(base_file(self.source.base, self.kind), folder / "base.gguf")
        (folder / "Modelfile").write_text(self.text(), encoding="utf-8")

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Serve the files of the folder."""
        return served(self.source.model.tokenizer(), folder / "base.gguf", self.file(folder), asked)

    def command(self, folder: Path) -> str:
        """Ollama's command; releases from 0.34.1 on reportedly do not support ADAPTER (mellea's issue 1651)."""
        newer = "if Ollama does not support ADAPTER: ollama.adapter=false"
        return f"ollama create {self.source.record.name} -f {folder / 'Modelfile'}   # {newer}"


@dataclass(frozen=True, kw_only=True)
class OllamaMergedExport(Gguf):
    """A folder for `ollama create`: Modelfile and one merged file."""

    parameters: Mapping[str, Any]
    """Of the Modelfile."""

    def refuse(self) -> None:
        """Reject a Modelfile that Ollama would reject."""
        self.text()

    def text(self) -> str:
        """The Modelfile; its template is compared with the tokenizer's own."""
        tokenizer, file = self.source.model.tokenizer(), self.file(Path()).name
        return modelfile(tokenizer, model=file, adapter=None, parameters=self.parameters)

    def write(self, folder: Path, net: Any) -> None:
        """The file and the Modelfile."""
        super().write(folder, net)
        (folder / "Modelfile").write_text(self.text(), encoding="utf-8")

    def command(self, folder: Path) -> str:
        """Ollama's command."""
        return f"ollama create {self.source.record.name} -f {folder / 'Modelfile'}"
