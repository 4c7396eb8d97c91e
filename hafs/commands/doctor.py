"""Check this machine: Python, packages, GPU, 4-bit products, disk, memory, keys; with advice.

    python -m hafs doctor
    python -m hafs doctor json=true

API keys are detected, never shown. Exit codes: 0 everything required works, 2 something required is broken.
"""

from typing import Annotated, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command


class Settings(TypedDict):
    """The command's own keys in `conf/doctor.yaml`."""

    json: bool
    time_source: Annotated[str, Field(pattern=r"^https?://\S+$")] | None


def doctor(config: DictConfig) -> None:
    """Run all checks and print the findings.

    Raises:
        RunError: Something required is broken.
    """
    import sys

    from rich.console import Console

    from hafs.core.errors import RunError
    from hafs.planning.diagnostics import as_json, examine, table

    findings = examine(time_source=config.time_source)
    if config.json:
        print(as_json(findings))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(table(findings))
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if broken:
        raise RunError(f"broken: {', '.join(broken)}", hint="see the last column for the fix")


main = command("doctor", doctor, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
