"""Check this machine: Python, versions, the GPU and a real 4-bit product, disk, memory, keys; and what to do.

    python -m hafs doctor
    python -m hafs doctor json=true

Keys are looked for, never shown. Exit codes: 0 nothing needed is broken, 2 something is.
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
    """Look at everything and print what was found.

    Raises:
        RunError: Something that is needed is broken.
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
        raise RunError(f"broken: {', '.join(broken)}", hint="the last column says what to do")


main = command("doctor", doctor, words=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
