"""Pages about runs: `report.html` of a finished one, and the body of the live page; both of one make."""

from hafs.runs.report.run_page import body, document, write

__all__ = ["body", "document", "write"]
