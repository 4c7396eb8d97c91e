"""Does hafs compute what transformers computes? One type of model, from loading to the gradients of a LoRA.

A tiny network is saved as a folder and loaded twice: by transformers with eager attention (the reference) and by hafs
as its commands load it. In float32, each beside the reference:

    alone       the loss of one sample of 40 tokens
    packed      the loss of a row of three samples, beside three single ones
    gradient    of a LoRA on all linear layers over that row, relative; with activation checkpointing too
    generated   eight greedy tokens after two prompts
    plan        parameters that the plan counts, beside the network's
"""

import gc
import json
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_configs import VOCAB, build

from hafs.core.errors import HafsError
from hafs.data.samples import Sample
from hafs.modeling import model_parts
from hafs.modeling.adapter import Lora
from hafs.modeling.adapter_check import check_adapter
from hafs.modeling.base_model import Hub, Model
from hafs.modeling.generation import for_inference
from hafs.modeling.generation.decoder import Decoder, Generation
from hafs.modeling.loss import token_loss
from hafs.modeling.packing import packed_sequence, supervised_states
from hafs.modeling.quantization import Quant
from hafs.planning.architecture import described

LOSS, GRADIENT, LOG_PROBABILITY = 1e-4, 1e-3, 1e-2
LORA = {
    "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear", "use_rslora": False,
    "use_dora": False,
}  # fmt: skip


@dataclass
class Verdict:
    """What became of a type."""

    kind: str
    word: str = "right"
    """right, refused, wrong, crash, or untried: transformers itself, or this test, has no reference."""
    why: str = ""
    way: str = ""
    """How hafs runs it."""
    experts: str = ""
    """Share of the weights in fused experts, where there are some, and whether LoRA reaches them."""
    found: dict[str, float | str] = field(default_factory=dict)
    """How far each is apart."""
    wanted: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    """The reference's gradients."""


class Failed(Exception):
    """What is not right."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(why)
        self.word = word


@contextmanager
def step(word: str, seconds: int = 60) -> Iterator[None]:
    """Errors in here end the check with a word; refusals with "refused"."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(seconds)
    try:
        yield
    except Failed:
        raise
    except HafsError as error:
        raise Failed("untried" if word == "untried" else "refused", error.fact) from error
    except Exception as error:
        raise Failed(word, one_line(error)) from error
    finally:
        signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError("took too long")


def one_line(error: BaseException) -> str:
    """An error and where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = "/".join(Path(last.filename).parts[-2:])
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({place}:{last.lineno})"


def check(kind: str, *, quick: bool = False) -> Verdict:
    """All of one type; quick: without checkpointing."""
    verdict, folder = Verdict(kind), Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        _check(verdict, folder, quick)
    except Failed as failed:
        verdict.word, verdict.why = failed.word, str(failed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        gc.collect()
    return verdict


def _check(verdict: Verdict, folder: Path, quick: bool) -> None:
    samples = samples_of()
    with step("untried"):
        build(verdict.kind, folder)
        theirs = reference(folder)
        singles = [float(reference_nats(theirs, sample)) for sample in samples]
        if not np.isfinite(singles).all():
            raise ValueError(f"its own loss is {singles}")
    with step("crash"):
        ours = loaded(folder)
    ways = model_parts.run_mode(ours)
    verdict.way = ways.costs or "packed"
    verdict.experts = _experts(ours)
    with step("crash"):
        _close(verdict, "alone", float(nats(ours, samples[:1])), singles[0], LOSS)
        _close(verdict, "packed", float(nats(ours, samples)), sum(singles), LOSS)
    with step("crash"):
        _plan(verdict, folder, ours)
    _generation(verdict, theirs, ours, samples)
    _gradients(verdict, theirs, ours, samples)
    if not quick:
        _checkpointing(verdict, folder, samples)


def _close(verdict: Verdict, what: str, got: float, expected: float, tolerance: float) -> None:
    verdict.found[what] = apart = abs(got - expected) / (abs(expected) or 1.0)
    if not apart <= tolerance:
        raise Failed("wrong", f"{what} {apart:.2g}")


def _plan(verdict: Verdict, folder: Path, net: Any) -> None:
    try:
        counted = described(json.loads((folder / "config.json").read_text())).parameters
    except HafsError as error:  # a run goes on without a plan
        verdict.found["plan"] = error.fact
        return
    _close(verdict, "plan", counted, sum(p.numel() for p in net.parameters()), 1e-3)


def _experts(net: Any) -> str:
    total = sum(p.numel() for p in net.parameters())
    fused = {name: p for name, p in net.named_parameters() if p.ndim == 3 and "expert" in name}
    return f"{sum(p.numel() for p in fused.values()) / total:.0%} in fused experts" if fused else ""


# the two sides --------------------------------------------------------------------------------------------------------


def reference(folder: Path) -> Any:
    """As transformers loads it."""
    from transformers import AutoModelForCausalLM

    try:
        net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    except ValueError:
        net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return net.train()


def loaded(folder: Path, *, checkpointing: bool = False) -> Any:
    """As hafs loads it."""
    model = Model(name="t", weights=Hub(repo=str(folder), revision="main"), gradient_checkpointing=checkpointing,
                  embedding_on_cpu=False, template=None)  # fmt: skip
    quant = Quant(name="none", bits=None, type=None, double=None)
    return model.load(quant=quant, dtype=torch.float32, device=torch.device("cpu"))


def samples_of() -> list[Sample]:
    """Three, of which two thirds are supervised."""
    rng, found = np.random.default_rng(3), []
    for i, count in enumerate((40, 13, 27)):
        supervised = np.arange(count) >= count // 3
        found.append(Sample(str(i), rng.integers(5, VOCAB, count).astype(np.int32), supervised))
    return found


def reference_nats(net: Any, sample: Sample) -> torch.Tensor:
    """The loss of one sample, from transformers' logits."""
    ids = torch.from_numpy(sample.tokens.astype(np.int64))[None]
    logits = net(input_ids=ids, use_cache=False).logits[0].float()
    where = torch.from_numpy(np.flatnonzero(sample.supervised))
    return torch.nn.functional.cross_entropy(logits[where - 1], ids[0, where], reduction="sum")


def nats(net: Any, samples: list[Sample]) -> torch.Tensor:
    """The loss of one row, as training and evaluation take it."""
    packed = packed_sequence(samples)
    hidden_ND, head = supervised_states(net, packed)
    return token_loss(hidden_ND, head.to(hidden_ND.dtype), packed.target_N).nats


# generation -----------------------------------------------------------------------------------------------------------


class Recording(Decoder):
    """The decoder; the scores of every step are noted."""

    seen: list[torch.Tensor]

    def logits(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        """As the decoder's."""
        found = super().logits(hidden_BD)
        self.seen.append(found[: len(self.running)].clone())
        return found


def _generation(verdict: Verdict, theirs: Any, ours: Any, samples: list[Sample]) -> None:
    prompts = [samples[0].tokens.tolist()[:21], samples[2].tokens.tolist()[:12]]
    with step("crash"), for_inference(ours):
        rows = [Generation(prompt, adapter=None, limit=8) for prompt in prompts]
        decoder = Recording(ours, ends=(), rows=2)
        decoder.seen = []
        for waiting in rows:
            decoder.add(waiting)
        while decoder:
            decoder.step()
    scores = torch.stack(decoder.seen)
    theirs.eval()  # until gradients are taken
    worst = max(_worst(scores[:, i], _by_forward(theirs, said)) for i, said in enumerate(rows))
    if worst > LOG_PROBABILITY:  # some types, in transformers, say other things from their cache than without it
        with step("wrong"):
            cached = [_by_generate(theirs, said) for said in rows]
            worst = max(_worst(scores[:, i], logits) for i, logits in enumerate(cached))
            apart = max(_worst(_by_forward(theirs, said), logits) for said, logits in zip(rows, cached, strict=True))
        if worst > LOG_PROBABILITY and apart > LOG_PROBABILITY:
            verdict.found["generated"] = f"no reference: transformers differs from itself by {apart:.2g}"
            verdict.way += "; generation not compared, as transformers gives other logits with a cache than without"
            return
    verdict.found["generated"] = worst
    if worst > LOG_PROBABILITY:
        raise Failed("wrong", f"generated: log probabilities differ by {worst:.2g}")


def _worst(got_TV: torch.Tensor, wanted_TV: torch.Tensor) -> float:
    wanted_TV = wanted_TV[:, : got_TV.shape[-1]].float()
    return float((torch.log_softmax(got_TV, -1) - torch.log_softmax(wanted_TV, -1)).abs().max())


@torch.no_grad()
def _by_forward(net: Any, said: Generation) -> torch.Tensor:
    """Logits of the answer's tokens, from one pass over prompt and answer."""
    logits_TV = net(input_ids=torch.tensor([said.prompt + said.said]), use_cache=False).logits[0]
    return logits_TV[len(said.prompt) - 1 : -1]


@torch.no_grad()
def _by_generate(net: Any, said: Generation) -> torch.Tensor:
    ids = torch.tensor([said.prompt])
    made = net.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=len(said.said), do_sample=False, pad_token_id=0,
        eos_token_id=None, num_beams=1, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return torch.stack(made.logits)[:, 0]


# gradients ------------------------------------------------------------------------------------------------------------


def _gradients(verdict: Verdict, theirs: Any, ours: Any, samples: list[Sample]) -> None:
    from peft import LoraConfig, get_peft_model

    with step("crash"):
        ours = Lora(name="l", config=LORA).attach(ours)
        check_adapter(ours)
    with step("untried"):
        theirs = get_peft_model(theirs, LoraConfig(task_type="CAUSAL_LM", **LORA)).train()
        verdict.wanted = _gradient(theirs, lambda: sum(reference_nats(theirs, sample) for sample in samples))
    with step("crash"):
        got = _gradient(ours, lambda: nats(ours, samples))
        _close(verdict, "gradient", _apart(got, verdict.wanted), 0.0, GRADIENT)


def _checkpointing(verdict: Verdict, folder: Path, samples: list[Sample]) -> None:
    with step("crash"):
        try:
            net = Lora(name="l", config=LORA).attach(loaded(folder, checkpointing=True))
            check_adapter(net)
        except HafsError:
            verdict.way += "; not with model.gradient_checkpointing"
            return
        got = _gradient(net, lambda: nats(net, samples))
        _close(verdict, "checkpointed", _apart(got, verdict.wanted), 0.0, GRADIENT)


def _gradient(net: Any, loss: Callable[[], Any]) -> dict[str, torch.Tensor]:
    """Of a branch that is the same for equal names."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in sorted(net.named_parameters(), key=lambda pair: pair[0]):
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
    loss().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None and p.requires_grad}


def _apart(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    nothing = {name: torch.zeros_like(wanted[name]) for name in wanted}
    apart = sum(float(((nothing | got)[name] - wanted[name]).square().sum()) for name in wanted)
    return (apart / max(sum(float(g.square().sum()) for g in wanted.values()), 1e-24)) ** 0.5
