"""Builds a council from the config tree. No model is loaded and no provider is called yet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from hafs.council.chat_model import Council


def council(overrides: Sequence[str] = ()) -> "Council":
    """The council for these overrides, as `hafs ask` would build it.

    Args:
        overrides: Overrides as typed after `hafs ask`: `expert=asm,debug`, `provider=openrouter,local`, `router=llm`.

    Raises:
        ConfigError: An override is not valid, an expert's adapter is missing, or no provider has its key.
    """
    from hafs.config import check, compose

    config = compose("ask", overrides)
    check(config)
    return assemble(config)


def assemble(config: DictConfig) -> "Council":
    """The council for a checked config.

    Raises:
        ConfigError: There is no expert or no provider.
        RegistryError: There is no such mixture.
    """
    from hafs.config import build
    from hafs.core.errors import ConfigError
    from hafs.council.chat_model import Council
    from hafs.council.router import Panel

    if config.mixture:
        from hafs.council.mixture import mixed

        config = mixed(config, config.mixture)
    experts = {node.name: build(node) for node in (config.get("experts") or {}).values()}
    providers = [build(node) for node in (config.get("providers") or {}).values()]
    if not experts or not providers:
        missing = "expert" if not experts else "provider"
        raise ConfigError(f"there is no {missing}", hint="expert=asm,debug provider=local")
    panel = Panel(
        experts=experts,
        default=config.default_expert if config.default_expert in experts else next(iter(experts)),
        generalists=frozenset(config.generalists),
        multi_threshold=config.multi_threshold,
        most=config.most_experts,
    )
    return Council(
        panel=panel,
        router=build(config.router),
        synthesizer=build(config.synthesizer),
        providers=tuple(providers),
        policy=build(config.policy),
        receipts=Path(config.receipts) if config.receipts else None,
    )
