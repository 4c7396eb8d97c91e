"""Exports a registered model for another program; an export is kept only if it matches the original.

source     the registered model, its unquantized base, held-out prompts
forms      merged, gguf, lora_gguf; ollama, vllm: how each is written, loaded and used
compare    next-token distributions of the original and of the export, over the same places
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hafs.chat import render
from hafs.chat.template import Template
from hafs.core import durable
from hafs.core.errors import GateRefused, RunError
from hafs.registry.export import nets
from hafs.registry.export.compare import Distance, Place, distance, of_net, places
from hafs.registry.export.forms import Form, Gguf, Kind, LoraGguf, Merged, Used
from hafs.registry.export.golden import GOLDEN, with_tools
from hafs.registry.export.ollama import OllamaExport, OllamaMergedExport
from hafs.registry.export.source import Source, source
from hafs.registry.export.vllm import Vllm, script_of_all

__all__ = ["Format", "Limits", "export", "script_of_all", "source"]

Format = Literal["merged", "gguf", "lora_gguf", "ollama", "vllm"]
Limits = Mapping[Literal["kl", "perplexity"], float]
REPORT = "export.json"
Say = Callable[[str], None]


def export(
    of: Source, *, form: Format, kind: Kind, target: Path, limits: Limits, ollama: Mapping[str, Any], say: Say
) -> Distance:
    """Write an export, run it, and keep it only if it matches the original.

    Args:
        of: The exported model.
        form: As in `format=`.
        kind: How matrices are stored.
        target: The export's folder; an earlier export there is replaced.
        limits: `kl`: mean nats of the next token; `perplexity`: share by which it may differ.
        ollama: `parameters` of the Modelfile; `adapter`: whether it has one, or the model is merged.
        say: Prints one line.

    Raises:
        GateRefused: The export does not match the original. It is removed, and an earlier export is kept.
        HafsError: The model cannot be exported in this form.
    """
    _refuse_strangers(target)
    made = _form(of, form, kind, ollama)
    made.refuse()
    tokenizer = of.model.tokenizer()
    asked = places(tokenizer, of.held_out)
    say(f"{of.record.name}: {of.record.base} without quantization, {len(of.held_out)} held-out prompts")
    net = nets.original(of)
    wanted = of_net(net, asked)
    if form == "merged" and of.quant.bits is not None and not of.whole:
        say(f"for comparison, as trained on {of.quant.name}: {_trained(of, wanted, asked)}")
    found: list[Distance] = []

    def write(folder: Path) -> None:
        nonlocal net
        given, net = net, None
        made.write(folder, given)
        del given
        nets.forget()
        used = made.use(folder, asked)
        found.append(distance(wanted, used.told, asked))
        say(f"{form}: {found[0]}")
        _accept(used, found[0], limits, tokenizer)
        say(f"{form}: token ids of {len(GOLDEN)} golden conversations are equal")
        tools = _tools(of, form, used, tokenizer)
        say(f"{form}: {tools}")
        report = _report(of, form, kind, found[0], limits) | {"tools": tools}
        (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")

    durable.commit(target, write)
    say(f"wrote {target}")
    say(f"-> {made.command(target)}")
    return found[0]


def _form(of: Source, form: Format, kind: Kind, ollama: Mapping[str, Any]) -> Form:
    if form == "ollama":
        folder = OllamaExport if ollama["adapter"] else OllamaMergedExport
        return folder(source=of, kind=kind, parameters=ollama["parameters"])
    return {"merged": Merged, "gguf": Gguf, "lora_gguf": LoraGguf, "vllm": Vllm}[form](source=of, kind=kind)


def _refuse_strangers(target: Path) -> None:
    if target.exists() and not (target / REPORT).exists() and (target.is_file() or any(target.iterdir())):
        raise RunError(f"{target} exists and is not an export", hint="choose another to=")


def _trained(of: Source, wanted: Any, asked: list[Place]) -> Distance:
    return distance(wanted, of_net(nets.as_trained(of), asked), asked)


def _accept(used: Used, found: Distance, limits: Limits, tokenizer: Any) -> None:
    for prompt, got in zip(GOLDEN, used.ids, strict=True):
        if got != list(render(tokenizer, prompt, for_generation=True).tokens):
            raise GateRefused(
                f"the export tokenizes {prompt[-1].content[:40]!r} differently than training did; it is removed"
            )
    if not found.kl <= limits["kl"]:  # NaN too
        fact = f"mean KL {found.kl:.3g} nats, limit {limits['kl']:g}"
        raise GateRefused(f"the export differs from the original: {fact}; it is removed")
    if not abs(found.perplexity_change) <= limits["perplexity"]:
        fact = f"perplexity {found.original:.4f} -> {found.perplexity:.4f}, limit {limits['perplexity']:.1%}"
        raise GateRefused(f"the export differs from the original: {fact}; it is removed")


def _tools(of: Source, form: Format, used: Used, tokenizer: Any) -> str:
    """Whether tools and calls can be used with the export, in one line.

    Raises:
        GateRefused: The export renders tools differently than training did, and the model was trained with tools.
    """
    asked = with_tools(tokenizer)
    if not asked:
        return "the chat template renders no tool calls, so use it without tools"
    ids = [list(render(tokenizer, prompt, for_generation=True).tokens) for prompt in asked]
    equal = sum(one == other for one, other in zip(ids, used.tool_ids, strict=True))
    if equal < len(asked):
        golden = f"{len(asked) - equal} of {len(asked)} golden conversations with tools"
        fact = f"{golden} have other token ids than in training"
        if any(conversation[0].tools for conversation in of.held_out):
            raise GateRefused(f"the export renders tools differently: {fact}; it is removed")
        return f"{fact}, so use it without tools"
    equal_ids = f"token ids of {len(asked)} golden conversations with tools are equal"
    if not Template(tokenizer).knows_tools:
        return f"{equal_ids}; tools are text of the messages (hafs writes it, other programs do not)"
    return f"{equal_ids}; Ollama's template has no tools, so Ollama rejects them" if form == "ollama" else equal_ids


def _report(of: Source, form: str, kind: str, found: Distance, limits: Limits) -> dict[str, Any]:
    return {
        "name": of.record.name, "format": form, "kind": kind, "adapter_sha256": of.record.adapter_sha256,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "distance": asdict(found), "limits": dict(limits),
    }  # fmt: skip
