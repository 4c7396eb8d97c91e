"""Removes secrets from every file and message that hafs writes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

SECRET_NAME = re.compile(r"(^|_)(api_?key|key|token|secret|password|passwd|credentials?)(_|$)", re.IGNORECASE)
"""Names of environment variables whose values are secrets."""
_SHORTEST = 8
"""Characters; shorter values would also match harmless text."""
HIDDEN = "***"


def secrets(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Secret values of the environment, the longest first."""
    found = {value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    found = {value for value in found if not Path(value).is_absolute()}  # the path of a key file is not a secret
    return sorted(found, key=len, reverse=True)


def scrub(text: str) -> str:
    """The text without secrets."""
    for secret in secrets():
        text = text.replace(secret, HIDDEN)
    return text
