"""The suite as the command's config names it, and who answers it where no run does; loads no torch."""

from typing import Any

from omegaconf import DictConfig

from hafs.config import build
from hafs.evaluation.rom.suite import NAME as ROM
from hafs.evaluation.rom.suite import RomSuite, rom_suite


def suite_of(config: DictConfig) -> RomSuite | None:
    """The ROM suite, if `tasks=` names it.

    Raises:
        ConfigError: Its assembler is missing.
        DataError: The file holds no tasks.
    """
    return rom_suite(config.rom_tasks, seed=config.seed, rows=config.tasks_limit) if ROM in config.tasks else None


def answering(config: DictConfig) -> tuple[str, Any] | None:
    """The chat model that answers the ROM suite alone, with its name: the chain of providers; None: a run does.

    Raises:
        ConfigError: No provider has what it needs.
    """
    run = [key for key in ("name", "a", "b", "council") if config[key]]
    nodes = config.get("providers") or {}
    if ROM not in config.tasks or run or not nodes:
        return None
    from hafs.providers.failover import failover

    model = failover([build(node) for node in nodes.values()], config.tasks_tier, policy=build(config.policy))
    return "+".join(map(str, nodes)), model
