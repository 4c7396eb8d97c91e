"""For vLLM: the adapter, and the command that serves it beside its base (vLLM's docs/features/lora.md)."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError
from hafs.modeling.adapter.folder import read_config
from hafs.modeling.base_model import Hub
from hafs.modeling.gguf import more_than_lora
from hafs.registry.export import nets
from hafs.registry.export.compare import Place, of_net
from hafs.registry.export.forms import Form, Used, ids_of, refuse_whole

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM's config/lora.py)."""


class Vllm(Form):
    """The adapter's folder and the script that serves it."""

    def refuse(self) -> None:
        """Refuse what vLLM's lora/peft_helper.py refuses, or reads as one rank and one scale for all layers."""
        refuse_whole(self.source, "format=merged")
        config = read_config(self.source.folder)
        extra = more_than_lora(config) or next(
            (key for key in ("rank_pattern", "alpha_pattern") if config.get(key)), ""
        )
        if extra:
            raise ConfigError(f"vLLM serves plain LoRA only, this adapter is more ({extra})", hint="format=merged")
        if config["r"] > RANKS[-1]:
            fact = f"vLLM serves ranks up to {RANKS[-1]}, this adapter has {config['r']}"
            raise ConfigError(fact, hint="format=merged")

    def write(self, folder: Path, net: Any) -> None:
        """Copy the adapter and the tokenizer, write the script."""
        adapter = folder / self.source.record.name
        adapter.mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
            shutil.copy2(self.source.folder / name, adapter / name)
        self.source.model.tokenizer().save_pretrained(adapter)
        (folder / "serve.sh").write_text(self.script(), encoding="utf-8")
        (folder / "serve.sh").chmod(0o755)

    def script(self) -> str:
        """Starts vLLM, from wherever it is called."""
        name, weights = self.source.record.name, self.source.model.weights
        base = shlex.quote(self.source.record.base_repo or str(self.source.base.resolve()))
        if self.source.record.base_repo and isinstance(weights, Hub):
            base += f" --revision {shlex.quote(weights.revision)}"
        own = f" --chat-template ./{name}/chat_template.jinja" if self.source.model.own_template() else ""
        rank = read_config(self.source.folder)["r"]
        room = next(each for each in RANKS if each >= rank)
        return (
            "#!/bin/sh\n# requests name the adapter: {\"model\": \"" + name + "\", ...}\n"
            'cd "$(dirname "$0")" || exit 1\n'
            f"exec vllm serve {base} --dtype bfloat16 --enable-lora --max-lora-rank {room}{own} \\\n"
            f'  --lora-modules {name}=./{name} "$@"\n'
        )  # fmt: skip

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load the copied adapter as vLLM would: on the unquantized base, in PEFT's format."""
        adapter = folder / self.source.record.name
        net = nets.put_on(nets.load(self.source.base, nets.exact_dtype(self.source.base)), adapter)
        return Used(ids=ids_of(adapter), told=of_net(net, asked))

    def command(self, folder: Path) -> str:
        """The script."""
        return f"sh {folder / 'serve.sh'}"
