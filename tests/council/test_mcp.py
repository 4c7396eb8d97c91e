"""The council as an MCP server: its tools in this process, and the command over standard input and output."""

import os
import sys

import pytest

mcp = pytest.importorskip("mcp", reason="the package mcp is not installed")

ONE = "How do I use lda and sta in a subroutine?"


async def test_a_client_asks_routes_and_lists_experts(seat):
    from hafs.server.mcp_tools import mcp_server

    async with mcp.Client(mcp_server(seat())) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"ask", "route", "experts"}
        got = await client.call_tool("ask", {"question": ONE})
        assert got.structured_content == {
            "answer": f"A scripted answer to: {ONE}", "answered_by": "asm=scripted/scripted",
        }  # fmt: skip
        alone = await client.call_tool("ask", {"question": ONE, "expert": "debug"})
        assert alone.structured_content["answered_by"] == "debug=scripted/scripted"
        assert (await client.call_tool("route", {"question": ONE})).structured_content["picked"] == ["asm"]
        assert set((await client.call_tool("experts", {})).structured_content) == {"asm", "yaze", "debug", "general"}
        unknown = await client.call_tool("ask", {"question": ONE, "expert": "cook"})
        assert unknown.is_error
        assert "there is no expert 'cook'" in unknown.content[0].text


async def test_who_cannot_be_reached_is_told_to_the_client(seat):
    from hafs.server.mcp_tools import mcp_server

    broken = seat("provider.scripted.host.faults=[rejected]", "provider.scripted.host.repeat_faults=true")
    async with mcp.Client(mcp_server(broken)) as client:
        got = await client.call_tool("ask", {"question": ONE})
    assert got.is_error
    assert "no provider gave an answer" in got.content[0].text


async def test_the_command_answers_on_standard_input(own_state):
    words = ["-m", "hafs", "mcp", "provider=scripted", "router=keyword"]
    server = mcp.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with mcp.Client(server) as client:
        got = await client.call_tool("ask", {"question": ONE})
    assert got.structured_content["answer"] == f"A scripted answer to: {ONE}"
