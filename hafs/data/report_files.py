"""The data report as files."""

import shutil
from pathlib import Path

from hafs.core import durable, records
from hafs.data.report import DataReport
from hafs.data.report_page import page


def write(report: DataReport, folder: Path) -> list[Path]:
    """Write data_report.json, data_report.html and rejected.jsonl into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("data_report.json", "data_report.html", "rejected.jsonl")]
    records.write_record(paths[0], report.as_dict())
    durable.write_text(paths[1], page(report))
    if report.rejected_file:
        shutil.copyfile(report.rejected_file, paths[2])
    return paths
