"""From raw JSONL to a routed council of fine-tuned experts, declared in one Hydra tree."""

from typing import TYPE_CHECKING, Any

from hafs.core.signals import is_the_program, quiet_until_a_command_runs

if is_the_program():
    quiet_until_a_command_runs()

if TYPE_CHECKING:
    from hafs.council.assembly import council

__all__ = ["council"]


def __getattr__(name: str) -> Any:
    """`from hafs import council`, loaded only when it is used, so that `import hafs` stays fast."""
    if name == "council":
        from importlib import import_module

        return import_module("hafs.council")
    raise AttributeError(f"module 'hafs' has no attribute {name!r}")
