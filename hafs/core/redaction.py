"""Secrets stay out of every file and every word that hafs writes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

SECRET_NAME = re.compile(r"(^|_)(api_?key|key|token|secret|password|passwd|credentials?)(_|$)", re.IGNORECASE)
"""Names of environment variables whose values are secrets."""
_SHORTEST = 8
"""Characters; a shorter value would take harmless words with it."""
HIDDEN = "***"


def secrets(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Values that must not be written, the longest first."""
    found = {value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    found = {value for value in found if not Path(value).is_absolute()}  # the place of a key file is no secret
    return sorted(found, key=len, reverse=True)


def scrub(text: str) -> str:
    """The text without secrets."""
    for secret in secrets():
        text = text.replace(secret, HIDDEN)
    return text
