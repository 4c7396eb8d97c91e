"""Watch runs: curves, progress, events and answers, while they train or afterwards.

    python -m hafs dashboard                          the newest run, on this terminal
    python -m hafs dashboard name=hyrule-asm-v1       a run by name, or by its folder
    python -m hafs dashboard first-run second-run     several compared; the name of a sweep means all its jobs
    python -m hafs dashboard web=true                 the same in a browser, on this machine only
    python -m hafs dashboard table=true               a table of all runs: hafs runs

Reads events.jsonl and nothing else, so it works over a live, finished, crashed or copied run and slows none. On the
terminal: p pauses, r resumes, s stops safely (saved; the same command continues), q leaves and the run goes on.
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
"""Where runs and sweeps live."""


def names(text: str | None) -> list[str]:
    """The runs that were named, with commas or spaces between; a folder's name may hold commas itself."""
    if not text:
        return []
    if any((root / text).exists() for root in (*ROOTS, Path())):
        return [text]
    return text.replace(",", " ").split()


def dashboard(config: DictConfig) -> None:
    """Show runs."""
    from hafs.runs.history import Journal, chosen
    from hafs.runs.history.found import everywhere

    if config.web:
        from hafs.dashboard.web import refuse_public, serve

        refuse_public(config.host)
    named = names(config.name)
    as_table = config.table or not (config.web or sys.stdout.isatty())
    folders = (config.table and not named and everywhere(ROOTS)) or chosen(named, ROOTS)
    journals = [Journal(folder) for folder in folders]
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
        runs_table([journal.story for journal in journals], title=f"{len(journals)} run{'s' * (len(journals) != 1)}")
    )


_enter = command("dashboard", dashboard, words=__doc__ or "", settings=Settings, positional="name")


def main() -> None:
    """Let names with commas and equal signs through as they are typed, then enter."""
    typed = sys.argv[1:]
    given = [word.removeprefix("name=") for word in typed if word.startswith("name=") and word != "name=null"]
    sys.argv[1:] = [word for word in typed if not word.startswith("name=")] + (["--", *given] if given else [])
    _enter()


if __name__ == "__main__":
    main()
