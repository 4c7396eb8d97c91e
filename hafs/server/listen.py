"""The address that the server listens on: without a token, loopback only."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hafs.core.errors import ConfigError
from hafs.core.loopback import is_loopback

SHORTEST_TOKEN = 16


def token_of(variable: str, host: str, *, users: bool = False) -> str | None:
    """The token that requests must carry; None: the server is on loopback, or its users have keys of their own.

    Raises:
        ConfigError: The address can be reached from elsewhere and there is no token, or a token is too short.
    """
    token = os.environ.get(variable, "")
    if not token and not users and not is_loopback(host):
        raise ConfigError(
            f"host={host} can be reached from other machines, and {variable} holds no token",
            hint=f"export {variable}=$(openssl rand -hex 24), or host=127.0.0.1",
        )
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"the token in {variable} has {len(token)} characters; it needs at least {SHORTEST_TOKEN}")
    return token or None


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket.

    Raises:
        ConfigError: The port is taken, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"host={host} is not an address of this machine: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
        yield listening
    except OSError as error:
        raise ConfigError(
            f"port {port} on {host} cannot be opened: {error.strerror}", hint="port=0 takes any free port"
        ) from error
    finally:
        listening.close()


def run(application: Any, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress are finished."""
    import gc

    import uvicorn

    gc.collect()
    gc.freeze()  # the loaded objects stay; without this a pause of the garbage collector delays all requests
    say_listening(listening.getsockname()[:2])
    config = uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[listening])


def say_listening(address: tuple[str, int]) -> None:
    """Print the address of a server that answers."""
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(f"hafs serves http://{where}/v1 and a chat page at http://{where}/ (Ctrl-C to stop)", flush=True)
