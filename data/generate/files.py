"""The content of every generated file, by name."""

import json
from collections.abc import Iterable
from typing import Any

from . import asm, debug, first, routing, suite, yaze


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def contents(seed: int) -> dict[str, bytes]:
    """File name to bytes: five datasets, questions that train routers, the tools of the editor, the routines' cases.

    The cases hold machine code, so that they are left out where there is no assembler.
    """
    rows, short = asm.build(seed), first.build(seed)
    cases = {}
    if not asm.missing():
        cases["alttp_asm.cases.jsonl"] = _lines(asm.case_records(rows, seed))
        cases["first_routines.cases.jsonl"] = _lines(first.case_records(short))
        cases["debug.cases.jsonl"] = _lines(debug.case_records(debug.cases(seed)))
    return {
        "alttp_asm.jsonl": _lines(asm.records(rows)),
        "alttp_asm.asar.jsonl": _lines(asm.asar_records(rows, seed)),
        "first_routines.jsonl": _lines(first.records(short)),
        **cases,
        "rom_tasks.jsonl": _lines(suite.records(seed)),
        "yaze_tools.jsonl": _lines(yaze.records(seed)),
        "debug.jsonl": _lines(debug.records(seed)),
        "routing.jsonl": _lines(routing.records(seed)),
        "routing_training_questions.jsonl": _lines(routing.training_questions(seed)),
        "routing_follow_ups.jsonl": _lines(routing.follow_ups(seed)),
        "yaze_api.json": yaze.api_text().encode(),
    }
