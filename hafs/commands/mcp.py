"""Offer the council as a tool over the Model Context Protocol, for editors and agents.

    hafs mcp                                              on standard input and output; the editor starts it
    hafs mcp provider=openrouter,local expert=asm,debug   the same choices as hafs ask

The tools are `ask` (a question, and optionally one expert), `route` (who would answer) and `experts` (what each knows).
It needs `pip install 'hafs[mcp]'`. Exit codes: 0 the client disconnected, 2 user error, 1 a bug in hafs.
"""

from omegaconf import DictConfig

from hafs.config import command
from hafs.council.settings import CouncilSettings


class Settings(CouncilSettings):
    """The command's own keys in `conf/mcp.yaml`: those of the council."""


def mcp(config: DictConfig) -> None:
    """Answer the client on standard input until it disconnects.

    Raises:
        ConfigError: An adapter is missing, or no provider has its key.
        MissingPackage: The package mcp is not installed.
    """
    from hafs.config.extras import MissingPackage, how_to_install, installed
    from hafs.council.assembly import assemble
    from hafs.providers.otel import trace_from_environment

    if not installed("mcp"):
        raise MissingPackage("this needs mcp, which is not installed", hint=how_to_install("mcp"))

    from hafs.server.mcp_tools import mcp_server

    trace_from_environment()
    council = assemble(config)
    council.load()
    mcp_server(council).run("stdio")


main = command("mcp", mcp, description=__doc__ or "", settings=Settings)

if __name__ == "__main__":
    main()
