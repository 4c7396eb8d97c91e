"""An ASGI application that listens on loopback, for the length of a block."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn


@contextmanager
def listening(app):
    """The address of an ASGI application on loopback."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[taken])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
