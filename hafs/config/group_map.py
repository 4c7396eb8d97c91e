"""Which modules build the options of each config group.

A folder in `conf/` is a group; the map says in which modules the `_target_`s of its options live. A config may call
what these modules define, and little else (`build.FOREIGN`).
"""

PROVIDERS = ("provider", "langchain", "llamacpp", "local", "ollama", "remote", "scripted")
"""Modules of `hafs.providers` that build options of the group `provider`."""

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
    "provider": tuple(f"hafs.providers.{name}" for name in PROVIDERS),
    "policy": ("hafs.providers.policy",),
    "expert": ("hafs.council.expert",),
    "router": ("hafs.council.router",),
    "synthesizer": ("hafs.council.synthesizer",),
}
"""By config group: dotted names of modules; submodules of a package count."""

FOREIGN_GROUPS = ("trainer", "logger")
"""Groups whose options are Lightning's own classes."""

LOGGERS = ("hafs.training.trackio_logger",)
"""Modules of loggers that Lightning does not have."""

NO_CODE = ("experiment",)
"""Groups whose options only set values of other groups."""


def modules() -> tuple[str, ...]:
    """The modules of all groups."""
    return (*(module for group in MODULES.values() for module in group), *LOGGERS)


def in_modules(target: str, names: tuple[str, ...]) -> bool:
    """Whether a dotted name is in one of these modules, or in a submodule."""
    return f"{target}.".startswith(tuple(f"{name}." for name in names))
