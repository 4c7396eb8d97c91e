"""Tool calls: the answer is a call that fits the tools."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hafs.chat import Call
from hafs.evaluation.metrics import Metric, Parts, Said

Level = Literal["parses", "known", "valid", "same"]


@dataclass(frozen=True, kw_only=True)
class ToolCalls(Metric):
    """Share of answers that are a proper call, over the rows whose reference is a valid call."""

    api: str
    """JSON file: a list of functions, each with `name` and `parameters` (JSON Schema)."""
    must: Level
    """parses: JSON with `tool` and `arguments`; known: that function exists; valid: its arguments fit; same: the
    row's own call."""

    def missing(self) -> str:
        """Check that the description of the functions can be read."""
        try:
            _schemas(self.api)
        except (OSError, ValueError, TypeError, KeyError) as error:
            return f"{self.api} describes no functions ({type(error).__name__})"
        return ""

    def parts(self, said: Said) -> Parts | None:
        """1 or 0."""
        if said.prompt and said.prompt[0].tools:
            return self._row_parts(said)
        wanted = call_of(said.reference)
        if said.answer is None or wanted is None or not self._valid(wanted):
            return None
        call = call_of(said.answer)
        return Parts(float(call is not None and self._holds(call, wanted)))

    def _row_parts(self, said: Said) -> Parts | None:
        """For rows with tools of their own: the right calls, or no call if the row's answer is text."""
        if said.answer is None:
            return None
        if not said.expected_calls or not said.calls:
            return Parts(float(not said.expected_calls and not said.calls))
        if self.must == "same":
            same = [(c.name, dict(c.arguments)) for c in said.calls]
            return Parts(float(same == [(c.name, dict(c.arguments)) for c in said.expected_calls]))
        return Parts(float(self.must != "valid" or all(_fits(said.prompt[0].tools, call) for call in said.calls)))

    def _holds(self, call: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        if self.must == "same":
            return dict(call) == dict(wanted)
        return (
            self.must == "parses"
            or (self.must == "known" and call["tool"] in _schemas(self.api))
            or (self.must == "valid" and self._valid(call))
        )

    def _valid(self, call: Mapping[str, Any]) -> bool:
        schema = _schemas(self.api).get(call["tool"])
        return schema is not None and schema.is_valid(call["arguments"])


def _fits(tools: Sequence[Mapping[str, Any]], call: Call) -> bool:
    """Whether the arguments of a call fit the schema of its tool."""
    from jsonschema import Draft202012Validator

    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    return call.name in schemas and Draft202012Validator(schemas[call.name]).is_valid(dict(call.arguments))


def call_of(text: str) -> dict[str, Any] | None:
    """The call in a text that is nothing else; None for any other text."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(call, dict) and call.keys() == {"tool", "arguments"} and isinstance(call["tool"], str)
    return call if fits else None


@cache
def _schemas(api: str) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    functions = json.loads(Path(api).read_text(encoding="utf-8"))
    return {function["name"]: Draft202012Validator(function["parameters"]) for function in functions}
