"""Pages about runs: `report.html` of a run, and the body of the live page. Both use the same templates."""

from hafs.runs.report.run_page import body_facts, write

__all__ = ["body_facts", "write"]
