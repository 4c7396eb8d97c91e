"""Probes a host: is it reachable, does it accept the key, which models does it offer. Costs no tokens."""

import os
from collections.abc import Mapping
from typing import Any

import httpx

from hafs.core.loopback import stays_here
from hafs.providers.classify import from_error, from_status
from hafs.providers.provider import Health

SECONDS = 5.0


def look(base_url: str, headers: Mapping[str, str], *, api_key_env: str | None, balance: str | None) -> Health:
    """The health of a host with an OpenAI-compatible API.

    Args:
        base_url: Up to and without `/chat/completions`.
        headers: Request headers.
        api_key_env: The variable of the key; None: it needs none.
        balance: Path of the account's balance, below the address; None: the host has none.
    """
    key = os.environ.get(api_key_env, "") if api_key_env else ""
    if api_key_env and not key:
        return Health(key=f"{api_key_env} is not set", reachable=None)
    headers = {**headers, **({"authorization": f"Bearer {key}"} if key else {})}
    base = base_url.rstrip("/")
    found = look_at(f"{base}/models", headers, key="present" if key else "not needed", secret=key)
    if not (found.reachable and balance):
        return found
    told = _get(f"{base}/{balance}", headers, key)
    return Health(key=found.key, reachable=True, said=found.said, models=found.models, quota=_balance(told))


def look_at(
    url: str, headers: Mapping[str, str], *, key: str, secret: str = "", names: tuple[str, str] = ("data", "id")
) -> Health:
    """The health of a host, from its list of models.

    Args:
        url: Of the list.
        headers: Request headers.
        key: The state of the key, for the result.
        secret: Removed from error messages.
        names: Key of the list in the answer, and key of the name in an entry.
    """
    told = _get(url, headers, secret)
    if isinstance(told, str):
        return Health(key=key, reachable=False, said=told)
    entries = told.get(names[0]) or []
    models = tuple(str(entry[names[1]]) for entry in entries if isinstance(entry, dict) and names[1] in entry)
    return Health(key=key, reachable=True, models=models)


def _get(url: str, headers: Mapping[str, str], secret: str) -> dict[str, Any] | str:
    """The JSON of an address, or the error."""
    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=not stays_here(url)) as client:
            response = client.get(url, headers=dict(headers))
        if response.status_code != 200:
            return str(from_status(response.status_code, _body(response), response.headers, (secret,)))
        told = response.json()
    except Exception as error:
        return str(from_error(error, (secret,)))
    return told if isinstance(told, dict) else "the answer is not a list of models"


def _body(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return response.text


def _balance(told: dict[str, Any] | str) -> str:
    """OpenRouter's balance of a key."""
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, dict):
        return ""
    left = data.get("limit_remaining")
    used = data.get("usage")
    parts = [f"${left:.2f} left" if isinstance(left, int | float) else "no limit on the key"]
    return ", ".join([*parts, *([f"${used:.2f} used"] if isinstance(used, int | float) else [])])
