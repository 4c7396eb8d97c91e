"""The most similar configurations that fit: few changes first, then the fastest; each as overrides to paste."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from hafs.modeling.hardware import Hardware
from hafs.planning.architecture import Architecture
from hafs.planning.memory import Constants
from hafs.planning.plan import Plan, PlanRequest, make

RANKS = (64, 32, 16, 8, 4)
SHORTEST_ROW = 256
MOST_LOST = 0.5
"""Share of the samples that a shorter max_length may lose."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A model that could be planned instead."""

    name: str
    shapes: Architecture
    checkpointing: bool


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A configuration that fits."""

    overrides: tuple[str, ...]
    """Overrides to add to the command."""
    plan: Plan
    times: float
    """Its duration, as a multiple of the requested configuration's."""
    note: str = ""
    """The drawback."""


Change = tuple[tuple[str, ...], PlanRequest, str]
"""Overrides, their effect, and the drawback."""


def nearest(plan: Plan, *, models: Sequence[Option], cards: Sequence[Hardware], most: int = 6) -> list[Fit]:
    """The best few configurations with headroom, nearest first.

    Args:
        plan: What does not fit.
        models: Smaller models to fall back to.
        cards: Other hardware.
        most: How many to list.
    """
    asked, known = plan.asked, plan.constants
    same = _fitting(plan, _settings(asked), known)
    smaller = [option for option in models if option.shapes.parameters < asked.shapes.parameters]
    smaller.sort(key=lambda option: -option.shapes.parameters)
    others = (_fitting(plan, _with_model(asked, option), known)[:1] for option in smaller)
    bigger = _fitting(plan, _with_hardware(asked, cards), known)
    bigger.sort(
        key=lambda fit: (fit.plan.usd(fit.plan.duration.usual) is None, fit.plan.usd(fit.plan.duration.usual) or 0)
    )
    fallback = [found[0] for found in others if found][:2]
    few = same[: most - min(2, len(bigger)) - len(fallback)]
    return [*few, *fallback, *bigger[: most - len(few) - len(fallback)]]


def _fitting(plan: Plan, changes: Iterator[Change], constants: Constants) -> list[Fit]:
    found: dict[tuple[str, ...], Fit] = {}
    for overrides, asked, note in changes:
        tried = make(asked, _for_device(asked, constants))
        if overrides and tried.verdict == "feasible" and not any(set(f) <= set(overrides) for f in found):
            times = tried.duration.usual / plan.duration.usual
            found[overrides] = Fit(overrides=overrides, plan=tried, times=times, note=note)
    return sorted(found.values(), key=lambda fit: (len(fit.overrides), fit.times))


def _for_device(asked: PlanRequest, constants: Constants) -> Constants:
    if asked.hardware.device == "cpu":
        return constants
    return replace(constants, context_bytes=asked.hardware.context_bytes)


def _settings(asked: PlanRequest) -> Iterator[Change]:
    """Every combination of smaller settings, those with few changes first."""
    axes = [_quants(asked), _checkpoints(asked), _embeddings(asked), _optimizers(asked), _ranks(asked), _rows(asked)]
    combined = sorted(product(*axes), key=lambda steps: sum(len(overrides) for overrides, *_ in steps))
    for steps in combined:
        overrides = tuple(word for found, *_ in steps for word in found)
        changed, note = asked, ""
        for _, change, said in steps:
            changed, note = change(changed), said or note
        yield overrides, changed, note


def _keep(asked: PlanRequest) -> PlanRequest:
    return asked


def _quants(asked: PlanRequest):
    yield (), _keep, ""
    if asked.setup.bits != 4:
        overrides = ("quant=nf4",) if asked.setup.rank else ("adapter=lora", "quant=nf4")
        rank = asked.setup.rank or 16
        yield overrides, lambda a: _setup(a, bits=4, double=True, rank=rank), ""


def _checkpoints(asked: PlanRequest):
    yield (), _keep, ""
    if not asked.setup.checkpointing:
        yield ("model.gradient_checkpointing=true",), lambda a: _setup(a, checkpointing=True), ""


def _embeddings(asked: PlanRequest):
    yield (), _keep, ""
    if asked.hardware.device != "cpu" and not asked.shapes.tied and not asked.setup.embedding_on_cpu:
        yield ("model.embedding_on_cpu=true",), lambda a: _setup(a, embedding_on_cpu=True), ""


def _optimizers(asked: PlanRequest):
    yield (), _keep, ""
    if not asked.setup.eight_bit_optimizer and asked.hardware.device == "cuda":
        yield ("optimizer=paged_adamw_8bit",), lambda a: _setup(a, eight_bit_optimizer=True), ""


def _ranks(asked: PlanRequest):
    yield (), _keep, ""
    for rank in RANKS:
        if asked.setup.rank and rank < asked.setup.rank:
            yield (f"adapter.r={rank}",), lambda a, rank=rank: _setup(a, rank=rank), ""


def _rows(asked: PlanRequest):
    """Shorter rows, and shorter samples, with the share of samples that is lost."""
    yield (), _keep, ""
    limit = asked.micro_batch_tokens or asked.max_length
    while asked.hardware.device == "cpu" or asked.micro_batch_tokens:
        limit //= 2
        if limit < max(SHORTEST_ROW, asked.load.longest):
            break
        yield (f"micro_batch_tokens={limit}",), lambda a, limit=limit: replace(a, micro_batch_tokens=limit), ""
    length = asked.max_length // 2
    while length >= SHORTEST_ROW and asked.load.lost_below(length) <= MOST_LOST:
        lost = asked.load.lost_below(length)
        note = f"{lost:.1%} of the samples are longer" if lost else ""
        yield (f"dataset.max_length={length}",), lambda a, n=length: _shorter(a, n), note
        length //= 2


def _setup(asked: PlanRequest, **changes: object) -> PlanRequest:
    return replace(asked, setup=replace(asked.setup, **changes))  # type: ignore[arg-type]


def _shorter(asked: PlanRequest, length: int) -> PlanRequest:
    limit = asked.micro_batch_tokens and min(asked.micro_batch_tokens, length)
    return replace(asked, max_length=length, load=asked.load.capped(length), micro_batch_tokens=limit)


def _with_model(asked: PlanRequest, option: Option) -> Iterator[Change]:
    changed = replace(asked, model=option.name, shapes=option.shapes)
    changed = _setup(changed, checkpointing=option.checkpointing)
    for overrides, final, note in _settings(changed):
        if len(overrides) <= 1:
            yield (f"model={option.name}", *overrides), final, note


def _with_hardware(asked: PlanRequest, cards: Sequence[Hardware]) -> Iterator[Change]:
    for card in cards:
        if card.name != asked.hardware.name and card.device == "cuda":
            product_bytes = 2 if card.bf16 or card.fp16 else 4
            changed = replace(asked, hardware=card)
            yield (
                (f"hardware={card.name}",),
                _setup(changed, device="cuda", product_bytes=product_bytes, flash=card.bf16 is not None),
                "",
            )
