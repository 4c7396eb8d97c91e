"""The data report as files."""

import shutil
from pathlib import Path

import orjson

from hafs.data.report import DataReport
from hafs.data.report_page import page


def write(report: DataReport, folder: Path) -> list[Path]:
    """Write data_report.json, data_report.html and rejected.jsonl into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("data_report.json", "data_report.html", "rejected.jsonl")]
    paths[0].write_bytes(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2))
    paths[1].write_text(page(report), encoding="utf-8")
    if report.rejected_file:
        shutil.copyfile(report.rejected_file, paths[2])
    return paths
