"""Which addresses are this machine's alone: keys in clear and servers without a token stay on them."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host's name or number never leaves this machine; a name that only looks like one does leave."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def stays_here(url: str) -> bool:
    """The same of a URL."""
    return is_loopback(urlsplit(url).hostname or "")
