"""HTTP sessions, one per event loop; with the environment's proxy, never for localhost."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from hafs.core.loopback import stays_here

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 10.0
LONGEST_LINE_BYTES = 2**20
_SESSIONS: dict[asyncio.AbstractEventLoop, dict[bool, aiohttp.ClientSession]] = {}
_KEEPERS: dict[asyncio.AbstractEventLoop, AsyncIterator[None]] = {}


def proxy_of(url: str) -> str | None:
    """The environment's proxy for an address; none for localhost."""
    parts = urlsplit(url)
    if stays_here(url) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


async def session(url: str) -> aiohttp.ClientSession:
    """The running loop's session for an address; closed when the loop shuts down.

    The policy owns the timeouts; the session has only a connect timeout.
    """
    loop, near = asyncio.get_running_loop(), stays_here(url)
    sessions = _SESSIONS.get(loop)
    if sessions is None:
        _forget_closed_loops()
        sessions = _SESSIONS[loop] = {}
        _KEEPERS[loop] = _closing_with(loop)
        await anext(_KEEPERS[loop])
    if near not in sessions:
        sessions[near] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=True if near else _certificates()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LONGEST_LINE_BYTES,
            trust_env=False,  # it would read ~/.netrc on every request; proxies are looked up here
        )
    return sessions[near]


def _certificates() -> "ssl.SSLContext":
    """Those that httpx trusts; importing it takes 0.2 s, with its own command line."""
    import httpx

    return httpx.create_ssl_context()


async def _closing_with(loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    """Suspended until the loop shuts its async generators down, as `asyncio.run` does before it closes the loop."""
    try:
        yield
    finally:
        _KEEPERS.pop(loop, None)
        for kept in _SESSIONS.pop(loop, {}).values():
            await kept.close()


def _forget_closed_loops() -> None:
    for loop in [loop for loop in _SESSIONS if loop.is_closed()]:
        _SESSIONS.pop(loop, None)
        _KEEPERS.pop(loop, None)
