"""Loopback addresses: plain HTTP with keys, and servers without a token, are only allowed on them."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address; names that only look like one are not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def stays_here(url: str) -> bool:
    """Whether a URL's host is a loopback address."""
    return is_loopback(urlsplit(url).hostname or "")
