"""What may still be asked of whom: limits, uses and rests of accounts, kept on disk for every process of a user.

An account is a name, never a key; one that begins with `~` is this process's own and is not written. Times are
seconds since 1970, because the file outlives the process.
"""

from hafs.providers.quota.file import ledger_path
from hafs.providers.quota.ledger import Ledger
from hafs.providers.quota.limits import DAY, LONGEST_REST_SECONDS, MINUTE, Limits, Rest

__all__ = ["DAY", "LONGEST_REST_SECONDS", "MINUTE", "Ledger", "Limits", "Rest", "ledger_path"]
