"""Watch runs: curves, progress, events and answers, while they train or afterwards.

    python -m hafs dashboard                          the newest run, on this terminal
    python -m hafs dashboard name=hyrule-asm-v1       a run, by its name or folder
    python -m hafs dashboard first-run second-run     compare several; a sweep's name stands for all its jobs
    python -m hafs dashboard web=true                 the same in a browser, served to this machine only
    python -m hafs dashboard table=true               a table of all runs: hafs runs

Reads only events.jsonl, so it works on a live, finished, crashed or copied run and does not slow it down. Keys in the
terminal: p pauses, r resumes, s saves and stops (the same command continues), q quits while the run goes on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypedDict

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command


class Settings(TypedDict):
    """The command's own keys in `conf/dashboard.yaml`."""

    name: str | None
    web: bool
    port: Annotated[int, Field(ge=0, le=65535)]
    host: str
    table: bool
    refresh_seconds: Annotated[float, Field(ge=0.05, le=3600)]


ROOTS = (Path("outputs"), Path("multirun"))
"""Folders that contain runs and sweeps."""


def names(text: str | None) -> list[str]:
    """The named runs, separated by commas or spaces; the name of an existing folder may contain commas."""
    if not text:
        return []
    if any((root / text).exists() for root in (*ROOTS, Path())):
        return [text]
    return text.replace(",", " ").split()


def dashboard(config: DictConfig) -> None:
    """Show runs."""
    from hafs.runs.history import JournalReader, chosen
    from hafs.runs.history.found import everywhere

    if config.web:
        from hafs.dashboard.web import refuse_public, serve

        refuse_public(config.host)
    named = names(config.name)
    as_table = config.table or not (config.web or sys.stdout.isatty())
    folders = (config.table and not named and everywhere(ROOTS)) or chosen(named, ROOTS)
    journals = [JournalReader(folder) for folder in folders]
    if as_table:
        _print_table(journals)
    elif config.web:
        serve(journals, host=config.host, port=config.port, refresh_seconds=config.refresh_seconds)
    else:
        from hafs.dashboard.app import Dashboard

        Dashboard(journals, refresh_seconds=config.refresh_seconds).run()


def _print_table(journals: Sequence) -> None:
    from rich.console import Console

    from hafs.dashboard.table import runs_table

    for journal in journals:
        journal.follow()
    Console().print(
        runs_table([journal.history for journal in journals], title=f"{len(journals)} run{'s' * (len(journals) != 1)}")
    )


_enter = command("dashboard", dashboard, description=__doc__ or "", settings=Settings, positional="name")


def main() -> None:
    """Pass names that contain commas or equal signs on literally, then run the command."""
    typed = sys.argv[1:]
    given = [word.removeprefix("name=") for word in typed if word.startswith("name=") and word != "name=null"]
    sys.argv[1:] = [word for word in typed if not word.startswith("name=")] + (["--", *given] if given else [])
    _enter()


if __name__ == "__main__":
    main()
