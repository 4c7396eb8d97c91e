"""Parameters of an answer: which of them ask for anything."""

from collections.abc import Mapping
from typing import Any

FURTHER = "further_parameters"
"""The keyword for parameters whose names LangChain uses itself, such as `metadata`: a mapping of them."""
OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
EMPTY = ([], {}, "")
SAYS_NOTHING: Mapping[str, Any] = {"response_format": {"type": "text"}, "logprobs": False, "n": 1}


def meaningful(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without those that ask for nothing.

    None, empty lists and LangChain's own `ls_` parameters are left out; so are tools that must not be called, a choice
    among no tools, and a response format that is plain text. A provider that takes no tools can then answer.
    """
    given = {name: value for name, value in parameters.items() if not name.startswith("ls_") and _asks(name, value)}
    if "tools" not in given or given.get("tool_choice") == "none":
        given = {name: value for name, value in given.items() if name not in OF_TOOLS}
    return given


def _asks(name: str, value: Any) -> bool:
    return value is not None and value not in EMPTY and value != SAYS_NOTHING.get(name, ...)
