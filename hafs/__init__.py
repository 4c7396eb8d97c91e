"""From raw JSONL to a routed council of fine-tuned experts, declared in one Hydra tree."""

from typing import TYPE_CHECKING, Any

from hafs.heap import restart_without_caches
from hafs.signals import is_the_program, quiet_until_the_door

if is_the_program("train"):
    restart_without_caches()
if is_the_program():
    quiet_until_the_door()

if TYPE_CHECKING:
    from hafs.graph import council

__all__ = ["council"]


def __getattr__(name: str) -> Any:
    """`from hafs import council` without making `import hafs` heavy."""
    if name == "council":
        from hafs.graph import council

        return council
    raise AttributeError(f"module 'hafs' has no attribute {name!r}")
