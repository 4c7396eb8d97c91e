"""Measure a router on labelled questions: accuracy, calibration, time; optionally fit thresholds.

    hafs route                                        the default router on the held-out part of the shipped questions
    hafs route router=keyword wrong=true              another router, and list its errors
    hafs route rows=my_questions.jsonl held_out=1     all of your own file
    hafs route rows=my_questions.jsonl fit=true       fit thresholds on the rest, printed as overrides

A row is {"instruction": "...", "output": "asm,debug"}: a question and the experts that should answer it. Rows
of one `split_group` are held out together. No expert is called; a model is called only by routers that use one.
"""

from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command
from hafs.council.settings import CouncilSettings


class Settings(CouncilSettings):
    """The command's own keys in `conf/route.yaml`."""

    rows: str
    held_out: Annotated[float, Field(gt=0, le=1)]
    seed: int
    fit: bool
    wrong: bool


def route(config: DictConfig) -> None:
    """Print the report of a router.

    Raises:
        DataError: The file cannot be read, or it has no held-out rows.
    """
    import asyncio

    from hafs.core.errors import DataError
    from hafs.council.assembly import assemble
    from hafs.council.router.report_terminal import show_fit, show_report, show_wrong
    from hafs.council.router.routing_report import fit, measure
    from hafs.council.router.rows import dealt, read_rows

    council = assemble(config)
    learned, held = dealt(read_rows(config.rows), config.held_out, seed=config.seed)
    if not held or (config.fit and not learned):
        raise DataError(f"{config.rows} has {len(held)} rows held out and {len(learned)} others", hint="held_out=0.5")
    panel = before = council.deciding
    labels = {name for row in held for name in row.experts}
    if not labels & set(panel.experts):
        fact = f"{config.rows} names {', '.join(sorted(labels)[:5])}, and no expert of this council"
        raise DataError(fact, hint=f"expert=... chooses them; these are {', '.join(panel.experts)}")
    if config.fit:
        panel = asyncio.run(fit(council.router, panel, learned))
        show_fit(before, panel, rows=len(learned))
    asyncio.run(council.router.route("loads what it needs", panel))  # loading is not routing
    report = asyncio.run(measure(council.router, panel, held))
    show_report(council.router.name, report)
    if config.wrong:
        show_wrong(report)


main = command("route", route, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
