"""LangChain's own tests of a chat model, on the council over the scripted provider.

Skipped there: calls of tools and what is made of them (a script calls no tools), pictures, sound and PDF (text only),
`init_from_env` and the override of the model's name (the council is made by `council`, from config), serialization (its
parts are live), and the comparison with recorded calls (there is no remote call).
"""

from functools import cache

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from hafs.council.assembly import council
from hafs.council.chat_model import Council


@cache
def seated():
    return council(["provider=scripted", "router=keyword", "receipts=null"])


class TheCouncil:
    """What both suites are told about it."""

    @property
    def chat_model_class(self):
        return Council

    @property
    def chat_model_params(self):
        made = seated()
        return {name: getattr(made, name) for name in ("panel", "router", "synthesizer", "providers", "policy")}

    @property
    def has_tool_calling(self):
        return False  # the scripted provider calls no tools; tools are bound and forwarded in test_graph.py

    @property
    def has_structured_output(self):
        return False  # made of tool calls

    @property
    def returns_usage_metadata(self):
        return True


class TestUnit(TheCouncil, ChatModelUnitTests):
    pass


class TestIntegration(TheCouncil, ChatModelIntegrationTests):
    pass
