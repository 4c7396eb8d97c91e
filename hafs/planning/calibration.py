"""What was measured on this machine, kept beside the registry, and what is assumed until then."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hafs.core import records
from hafs.core.state import data_folder
from hafs.modeling.hardware import Hardware
from hafs.planning.memory import Constants

LIBRARIES = 500 * 2**20
"""Resident memory of Python with torch, transformers and Lightning, before a model is loaded."""
CPU_SLACK, GPU_SLACK = 0.03, 0.08
"""The C library's and CUDA's allocator; the first is fitted in docs/explanation/planning.md, the second assumed."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The figures of one machine."""

    title: str
    """Title of the measured hardware."""
    date: str
    of: str
    """What was trained."""
    efficiency: tuple[float, float, float]
    context_bytes: int
    slack: float


def default_path() -> Path:
    """Beside the registry, or in `$HAFS_STATE`."""
    return data_folder() / "calibration.json"


def load(path: Path | None) -> dict[str, Calibration]:
    """Calibrations by the title of their hardware; empty if there is none, and, which is said, if it is damaged."""
    try:
        facts = (records.read_record(path, unsealed="") if path else None) or {}
        return {title: Calibration(**one | {"efficiency": tuple(one["efficiency"])}) for title, one in facts.items()}
    except (records.Damaged, TypeError, KeyError):
        assert path is not None
        records.say_damaged(path, records.CHECKSUM, "figures are assumed until hafs plan calibrate measures them again")
        return {}


def keep(path: Path, found: Calibration) -> None:
    """Add or replace one machine's figures.

    Raises:
        OSError: They cannot be written; those from before are intact.
    """
    known = {title: asdict(one) for title, one in load(path).items()} | {found.title: asdict(found)}
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_record(path, known)


def applied(hardware: Hardware, path: Path | None) -> tuple[Hardware, Constants]:
    """The hardware with what was measured on it, and the constants of its memory, with their source."""
    found = load(path).get(hardware.title)
    if found:
        source = f"calibrated on {found.date} with {found.of}"
        constants = Constants(context_bytes=found.context_bytes, slack=found.slack, source=source)
        return replace(hardware, efficiency=found.efficiency), constants
    if hardware.device == "cpu":
        return hardware, Constants(context_bytes=LIBRARIES, slack=CPU_SLACK, source="assumed (hafs plan calibrate)")
    return hardware, Constants(
        context_bytes=hardware.context_bytes, slack=GPU_SLACK, source="assumed (hafs plan calibrate on the machine)"
    )
