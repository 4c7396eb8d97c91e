"""What `events.jsonl` tells of a run: read once, then followed; a finished, live, crashed or copied run alike.

    journal = Journal(folder)     # nothing is read yet
    journal.follow()              # reads what is new since the last call; True if there was something
    journal.story.status()        # running, paused, finished, stopped, failed, diverged, crashed, silent

The terminal, the page, the report and the table of runs all read through here, and nothing here writes to a run.
"""

from hafs.story.found import chosen
from hafs.story.journal import Journal
from hafs.story.story import Story

__all__ = ["Journal", "Story", "chosen"]
