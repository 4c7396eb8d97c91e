"""Structured output by `response_format`, and chat models that constrain their answers by a grammar."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from hafs.providers.bridge import Bridged
from hafs.providers.prompted_tools import closed
from hafs.providers.reply import finish_of


class _Whole(JsonOutputParser):
    """Raises for an answer that was cut off, which the library would parse partially."""

    def parse_result(self, result: list[Any], *, partial: bool = False) -> Any:
        if not partial and finish_of(result[0]) == "length":
            raise OutputParserException("the answer was cut off at max_tokens", llm_output=result[0].text)
        return super().parse_result(result, partial=partial)


class _Objects(_Whole, PydanticOutputParser):
    pass


Method = Literal["json_schema", "json_mode", "function_calling"]


def structured(
    model: BaseChatModel, schema: Any, *, method: Literal["json_schema", "json_mode"], include_raw: bool
) -> Runnable[Any, Any]:
    """A model whose answers are objects of a schema.

    Args:
        model: Takes `response_format`, with a schema in either form.
        schema: A pydantic class, whose objects come out; a TypedDict or a JSON schema with a title: dictionaries do.
        method: json_schema: hafs sends the schema to the model; json_mode: the prompt already contains it.
        include_raw: Give {"raw": message, "parsed": object, "parsing_error": None or exception} instead of raising.

    Raises:
        ValueError: The schema is not valid.
        OutputParserException: Later, for an answer that was cut off or does not match.
    """
    form = closed(convert_to_json_schema(schema))
    if method == "json_schema":
        asked = {"type": "json_schema", "json_schema": {"name": form["title"], "schema": form}}
    else:
        asked = {"type": "json_object", "schema": form}
    told = {"kwargs": {"method": method}, "schema": schema}
    answering = model.bind(response_format=asked, ls_structured_output_format=told)
    if isinstance(schema, Mapping) or not is_basemodel_subclass(schema):
        parser: Any = _Whole()
    else:
        parser = _Objects(pydantic_object=schema)
    if not include_raw:
        return answering | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=answering) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class ConstrainedChat(Bridged):
    """A chat model on this machine: a grammar holds its answers to the tools and to the schema of a request."""

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, Any]:
        """Bind tools in any of LangChain's forms; `tool_choice` in OpenAI's."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(
        self, schema: Any, *, method: Method = "json_schema", include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Answers as objects of a schema; see `structured`."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        return structured(self, schema, method=method, include_raw=include_raw)
