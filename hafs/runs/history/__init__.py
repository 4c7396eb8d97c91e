"""The history of a run from its `events.jsonl`: read once, then followed; for finished, live, crashed and copied runs.

    journal = JournalReader(folder)     # nothing is read yet
    journal.follow()              # reads what is new since the last call; True if there was something
    journal.history.status()        # running, paused, finished, stopped, failed, diverged, crashed, silent

The terminal, the page, the report and the table of runs all read through here, and nothing here writes to a run.
"""

from hafs.runs.history.found import chosen
from hafs.runs.history.journal import JournalReader
from hafs.runs.history.run_history import RunHistory

__all__ = ["JournalReader", "RunHistory", "chosen"]
