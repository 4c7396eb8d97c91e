"""Which modules build the options of each config group, and where these modules were in earlier releases.

A folder in `conf/` is a group; the map says in which modules the `_target_`s of its options live. A config may call
what these modules define, and little else (`build.FOREIGN`).
"""

_PROVIDERS = ("provider", "llamacpp", "local", "ollama", "remote", "scripted")

MODULES: dict[str, tuple[str, ...]] = {
    "model": ("hafs.modeling.base_model", "hafs.modeling.weights"),
    "quant": ("hafs.modeling.quantization",),
    "adapter": ("hafs.modeling.adapter",),
    "hardware": ("hafs.modeling.hardware",),
    "dataset": ("hafs.data.dataset",),
    "stage": ("hafs.training.stage", "hafs.training.preference"),
    "optimizer": ("hafs.training.optimizer",),
    "callbacks": ("hafs.training.callbacks",),
    "metrics": ("hafs.evaluation.metrics",),
    "gate": ("hafs.evaluation.gate",),
    "judge": ("hafs.evaluation.judge",),
    "registry": ("hafs.registry.registry",),
    "provider": tuple(f"hafs.providers.{name}" for name in _PROVIDERS),
    "policy": ("hafs.providers.policy",),
    "expert": ("hafs.council.expert",),
    "router": ("hafs.council.router",),
    "synthesizer": ("hafs.council.synthesizer",),
}
"""By config group: dotted names of modules; submodules of a package count."""

FOREIGN_GROUPS = ("trainer", "logger")
"""Groups whose options are Lightning's own classes."""

NO_CODE = ("experiment",)
"""Groups whose options only set values of other groups."""

_MOVED: dict[str, str] = {
    "hafs.adapter": "hafs.modeling.adapter",
    "hafs.callbacks": "hafs.training.callbacks",
    "hafs.dataset": "hafs.data.dataset",
    "hafs.expert": "hafs.council.expert",
    "hafs.gate": "hafs.evaluation.gate",
    "hafs.hardware": "hafs.modeling.hardware",
    "hafs.judge": "hafs.evaluation.judge",
    "hafs.metrics": "hafs.evaluation.metrics",
    "hafs.metrics.ended.Ended": "hafs.evaluation.metrics.eos_rate.EosRate",
    "hafs.metrics.seconds_a_token.SecondsAToken": "hafs.evaluation.metrics.seconds_per_token.SecondsPerToken",
    "hafs.model": "hafs.modeling.base_model",
    **{f"hafs.model.{name}": f"hafs.modeling.weights.{name}" for name in ("hub", "packaged_gguf", "random_weights")},
    "hafs.optimizer": "hafs.training.optimizer",
    "hafs.policy": "hafs.providers.policy",
    "hafs.provider": "hafs.providers.provider",
    **{f"hafs.provider.{name}": f"hafs.providers.{name}" for name in _PROVIDERS[1:]},
    "hafs.quant": "hafs.modeling.quantization",
    "hafs.registry.registry": "hafs.registry.registry.registry",
    "hafs.router": "hafs.council.router",
    "hafs.stage": "hafs.training.stage",
    "hafs.synthesizer": "hafs.council.synthesizer",
}
"""Names of release 0.1: prefixes of a `_target_`; the longest match counts. Accepted until 0.3."""


def modules() -> tuple[str, ...]:
    """The modules of all groups."""
    return tuple(module for group in MODULES.values() for module in group)


def in_modules(target: str, names: tuple[str, ...]) -> bool:
    """Whether a dotted name is in one of these modules, or in a submodule."""
    return f"{target}.".startswith(tuple(f"{name}." for name in names))


def current_target(target: str) -> str:
    """Today's name for a `_target_` of any release."""
    if target not in _MOVED and in_modules(target, modules()):
        return target
    parts = target.split(".")
    for size in range(len(parts), 0, -1):
        if moved := _MOVED.get(".".join(parts[:size])):
            return ".".join([moved, *parts[size:]])
    return target
