"""Limits, usage and backoffs of accounts, kept on disk and shared by all processes of a user.

An account is a name, never a key; a name with a leading `~` is local to the process and not written. Times are
seconds since 1970, because the file outlives the process.
"""

from hafs.providers.quota.file import ledger_path
from hafs.providers.quota.ledger import Ledger
from hafs.providers.quota.limits import DAY, LONGEST_BACKOFF_SECONDS, MINUTE, Backoff, Limits

__all__ = ["DAY", "LONGEST_BACKOFF_SECONDS", "MINUTE", "Backoff", "Ledger", "Limits", "ledger_path"]
