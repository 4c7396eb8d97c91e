"""Whether the Hugging Face hub can be reached from here."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies


def hub_is_reachable(*, seconds: float = 5.0) -> bool:
    """Whether the hub's host answers; one try, because the hub's own client would retry for a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True  # only the client knows the proxy
    url = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((url.hostname, url.port or 443), timeout=seconds).close()
    except OSError:
        return False
    return True
