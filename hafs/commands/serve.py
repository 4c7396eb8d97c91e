"""Serve the council behind the APIs of OpenAI and Anthropic.

    hafs serve                                            http://127.0.0.1:8484/v1
    hafs serve provider=openrouter,local port=9000
    HAFS_SERVE_TOKEN=... hafs serve host=0.0.0.0          requests must carry the token
    hafs serve provider=openrouter workers=4              or --workers 4: processes that share the port and the counts

It speaks OpenAI's API (/v1/chat/completions, /v1/responses, /v1/completions, /v1/embeddings, /v1/models) and
Anthropic's (/v1/messages), with and without streaming. /health reports that the server is up, /metrics
is for Prometheus. An address other than localhost requires a token.
"""

import sys
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command
from hafs.council.settings import CouncilSettings
from hafs.server.users import UserSettings


class Settings(CouncilSettings):
    """The command's own keys in `conf/serve.yaml`."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    token_env: str
    max_body_bytes: Annotated[int, Field(gt=0)]
    max_requests: Annotated[int, Field(gt=0)]
    workers: Annotated[int, Field(gt=0)]
    cors: list[str]
    aliases: dict[str, str] | None
    users: dict[str, UserSettings] | None
    cache: Annotated[int, Field(ge=0)]
    access_log: str | None
    receipts_days: Annotated[float, Field(gt=0)] | None
    receipts_most: Annotated[int, Field(gt=0)] | None


def serve(config: DictConfig) -> None:
    """Answer requests until Ctrl-C.

    Raises:
        ConfigError: The address needs a token, the port is taken, an adapter is missing, or no provider has its key.
    """
    from hafs.server.serving import serve_config

    serve_config(config)


_command = command("serve", serve, description=__doc__ or "", settings=Settings)


def main() -> None:
    """The command; `--workers N`, as other servers have it, is `workers=N`."""
    arguments = sys.argv[1:]
    for at, word in enumerate(arguments):
        if word == "--workers" and at + 1 < len(arguments):
            arguments[at : at + 2] = [f"workers={arguments[at + 1]}"]
        elif word.startswith("--workers="):
            arguments[at] = word.removeprefix("--")
    sys.argv[1:] = arguments
    _command()


if __name__ == "__main__":
    main()
