#!/usr/bin/env bash
# The official MCP server hides what an ordinary exception of a tool says; only its own ToolError reaches the client.
# Guess: the message of any exception is the text of the error result, as a tool's author would want it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mcp==2.3.0
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import asyncio
from importlib import metadata

from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("example", log_level="CRITICAL")


@server.tool()
def ordinary() -> str:
    """Raises a ValueError."""
    raise ValueError("there is no expert 'cook'")


@server.tool()
def own() -> str:
    """Raises a ToolError."""
    raise ToolError("there is no expert 'cook'")


async def main():
    async with Client(server) as client:
        return [(await client.call_tool(name, {})).content[0].text for name in ("ordinary", "own")]


ordinary, own = asyncio.run(main())
print("mcp", metadata.version("mcp"))
print("guess: both errors say: there is no expert 'cook'")
print("seen, ValueError:", ordinary)
print("seen, ToolError: ", own)
raise SystemExit(0 if "cook" not in ordinary and "cook" in own else 1)
PYTHON
