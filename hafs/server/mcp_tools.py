"""The council as tools of the Model Context Protocol, for editors and agents that start it themselves."""

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from hafs.core.errors import HafsError
from hafs.council.chat_model import Council
from hafs.server.dialect import Conclusion

INSTRUCTIONS = "Experts of a narrow subject: `experts` lists them, `ask` routes a question to the right ones."


def mcp_server(council: Council) -> MCPServer:
    """A server with the tools `ask`, `route` and `experts`."""
    server = MCPServer("hafs", instructions=INSTRUCTIONS, log_level="WARNING")
    alone = {name: council.alone(name) for name in council.panel.experts}

    @server.tool()
    async def ask(question: str, expert: str | None = None) -> dict[str, Any]:
        """Ask the council a question about its subject.

        Args:
            question: The question, with all that is needed to answer it: code, error messages, what was tried.
            expert: One expert alone, by its name; without it, the router picks who answers.

        Returns:
            `answer`, and `answered_by`: which experts, and their models.
        """
        chosen = _chosen(expert)
        try:
            message = await chosen.ainvoke(question)
        except HafsError as error:
            raise ToolError(str(error)) from error
        end = Conclusion(metadata=message.response_metadata)
        return {"answer": str(message.text), "answered_by": end.answered_by}

    @server.tool()
    async def route(question: str) -> dict[str, Any]:
        """Which experts would answer a question, and each expert's score between 0 and 1. No expert is asked."""
        routing = await council.aroute(question)
        return {"picked": list(routing.picked), "scores": dict(routing.scores), "decided_by": routing.decided_by}

    @server.tool()
    def experts() -> dict[str, str]:
        """The experts by name, and what each is asked about."""
        return {name: expert.specialization for name, expert in council.panel.experts.items()}

    def _chosen(expert: str | None) -> Council:
        if expert is None:
            return council
        if expert not in alone:
            raise ToolError(f"there is no expert {expert!r}; there are {', '.join(alone)}")
        return alone[expert]

    return server
