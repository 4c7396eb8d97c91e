"""Serve the council behind the APIs of OpenAI and Anthropic.

    hafs serve                                            http://127.0.0.1:8484/v1
    hafs serve provider=openrouter,local port=9000
    HAFS_SERVE_TOKEN=... hafs serve host=0.0.0.0          requests must carry the token

It speaks OpenAI's API (/v1/chat/completions, /v1/responses, /v1/completions, /v1/embeddings, /v1/models) and
Anthropic's (/v1/messages), with and without streaming. /health reports that the server is up. An address other than
localhost requires a token.
"""

from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from hafs.config import command
from hafs.council.settings import CouncilSettings


class Settings(CouncilSettings):
    """The command's own keys in `conf/serve.yaml`."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    token_env: str
    max_body_bytes: Annotated[int, Field(gt=0)]
    max_requests: Annotated[int, Field(gt=0)]
    cors: list[str]
    aliases: dict[str, str]


def serve(config: DictConfig) -> None:
    """Answer requests until Ctrl-C.

    Raises:
        ConfigError: The address needs a token, the port is taken, an adapter is missing, or no provider has its key.
    """
    from hafs.council.assembly import assemble
    from hafs.providers.otel import trace_from_environment
    from hafs.server.app import RequestLimits, application
    from hafs.server.listen import bound, run, token_of

    trace_from_environment()
    token = token_of(config.token_env, config.host)
    council = assemble(config)
    council.load()  # also reports missing adapters and keys now, not at the first question
    limits = RequestLimits(max_body_bytes=config.max_body_bytes, max_requests=config.max_requests)
    with bound(config.host, config.port) as socket:
        app = application(council, token=token, limits=limits, cors=config.cors, aliases=config.aliases)
        run(app, socket)


main = command("serve", serve, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
