"""For vLLM: the adapter, and the command that serves it beside its base (vLLM's docs/features/lora.md)."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hafs.core import durable
from hafs.core.errors import ConfigError
from hafs.modeling.adapter.folder import read_config
from hafs.modeling.base_model import Hub
from hafs.modeling.gguf import more_than_lora
from hafs.registry.export import nets
from hafs.registry.export.compare import Place, of_net
from hafs.registry.export.forms import Form, Used, refuse_whole, used_by
from hafs.registry.export.source import Source
from hafs.registry.names import family

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM's config/lora.py)."""


class Vllm(Form):
    """The adapter's folder and the script that serves it."""

    def refuse(self) -> None:
        """Reject what vLLM's lora/peft_helper.py rejects, or reads as one rank and one scale for all layers."""
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
        """Starts vLLM, from any current folder."""
        return script([(self.source, f"./{self.source.record.name}")])

    def use(self, folder: Path, asked: Sequence[Place]) -> Used:
        """Load the copied adapter as vLLM would: on the unquantized base, in PEFT's format."""
        adapter = folder / self.source.record.name
        net = nets.put_on(nets.load(self.source.base, nets.exact_dtype(self.source.base)), adapter)
        return used_by(adapter, of_net(net, asked))

    def command(self, folder: Path) -> str:
        """The script."""
        return f"sh {folder / 'serve.sh'}"


def script(adapters: Sequence[tuple[Source, str]]) -> str:
    """The command that serves adapters beside their base; each is served under its family and under its version.

    Args:
        adapters: Of one base, each with its folder relative to the script's.

    Raises:
        ConfigError: They were trained on different bases.
    """
    first = adapters[0][0]
    for other, _ in adapters:
        if other.record.base_sha256 != first.record.base_sha256:
            fact = f"{first.record.name} was trained on {first.record.base}, {other.record.name} on {other.record.base}"
            raise ConfigError(f"{fact}; one vLLM server has one base", hint="export each of them alone")
    weights = first.model.weights
    base = shlex.quote(first.record.base_repo or str(first.base.resolve()))
    if first.record.base_repo and isinstance(weights, Hub):
        base += f" --revision {shlex.quote(weights.revision)}"
    own = f" --chat-template {adapters[0][1]}/chat_template.jinja" if first.model.own_template() else ""
    rank = max(read_config(source.folder)["r"] for source, _ in adapters)
    room = next(each for each in RANKS if each >= rank)
    modules = [
        f"{name}={folder}" for source, folder in adapters for name in (family(source.record.name), source.record.name)
    ]
    lines = [
        f"exec vllm serve {base} --dtype bfloat16{own}",
        f"--enable-lora --max-lora-rank {room} --max-loras {len(adapters)} --max-cpu-loras {len(modules)}",
        " ".join(["--lora-modules", *modules]),
    ]
    return (
        '#!/bin/sh\n# requests name the adapter: {"model": "' + family(first.record.name) + '", ...}\n'
        'cd "$(dirname "$0")" || exit 1\n' + " \\\n  ".join(lines) + ' "$@"\n'
    )


def script_of_all(folder: Path, sources: Sequence[Source]) -> str:
    """Write `serve.sh` for exports that are subfolders of `folder`; returns the command that starts it.

    Raises:
        ConfigError: As in `script`.
    """
    text = script([(each, f"./{each.record.name}/{each.record.name}") for each in sources])
    durable.write_text(folder / "serve.sh", text)
    (folder / "serve.sh").chmod(0o755)
    return f"sh {folder / 'serve.sh'}"
