"""Makes a council of a registered mixture: its models, in fixed versions, become the experts behind its router."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from hafs.config import compose
from hafs.config.tree import options
from hafs.core.errors import ConfigError
from hafs.registry import names
from hafs.registry.registry import Mixture, Record, Registry


def mixed(config: DictConfig, name: str) -> DictConfig:
    """The config with the panel and the router of a mixture.

    An expert option whose adapter is of a model's family stands for it, with all its overrides; a model without an
    option becomes an expert from its record, which routers know by its specialization alone.

    Args:
        config: Of `hafs ask` or `hafs serve`; it stays as it is.
        name: A registered mixture, or a family of them.

    Raises:
        ConfigError: It is one model.
        RegistryError: It is not registered.
    """
    registry = Registry.open()
    mixture = registry.get(name)
    if not isinstance(mixture, Mixture):
        raise ConfigError(
            f"{mixture.name!r} is one model, not a mixture", hint=f"expert=asm expert.asm.adapter={mixture.name}"
        )
    plain: Any = OmegaConf.to_container(config)
    chosen: Any = OmegaConf.to_container(
        compose("ask", [f"expert=[{','.join(options('expert'))}]", f"router={mixture.router}"])
    )
    known = [
        *plain["experts"].values(),
        *(node for key, node in chosen["experts"].items() if key not in plain["experts"]),
    ]
    experts = {}
    for model in mixture.experts:
        node = next((node for node in known if _speaks_for(node, model) and node["name"] not in experts), None)
        node = node or _out_of(registry.get(model), chosen["experts"]["general"])
        experts[node["name"]] = {**node, "adapter": model}
    return OmegaConf.create({**plain, "experts": experts, "router": chosen["router"]})


def _speaks_for(node: dict[str, Any], model: str) -> bool:
    return node["adapter"] is not None and names.family(node["adapter"]) == names.family(model)


def _out_of(model: Any, general: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(model, Record)
    facts = {"name": model.name, "model": model.name, "specialization": model.specialization}
    return {**general, **facts, "keywords": [], "examples": []}
