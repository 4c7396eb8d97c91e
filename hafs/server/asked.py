"""A request in the form of OpenAI's chat completions; requests of other APIs are translated into it."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from langchain_core.messages import BaseMessage, convert_to_messages
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hafs.council.chat_model import MODEL
from hafs.providers.parameters import FURTHER
from hafs.server.api_error import ApiError

OF_THE_REQUEST = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "stop", "max_tokens", "max_completion_tokens"}
)
"""Fields of a request that are not parameters of the answer. All others are forwarded to the provider; the receipt
lists those that it does not take."""
OF_LANGCHAIN = frozenset({"input", "config", "callbacks", "tags", "metadata", "run_name", "run_id", "run_manager"})
"""Parameters whose names LangChain's own methods use."""
Body = TypeVar("Body", bound=BaseModel)


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    include_usage: bool = False


class Asked(BaseModel):
    """A request to /v1/chat/completions; unknown fields are parameters too."""

    model_config = ConfigDict(extra="allow")

    model: str = MODEL
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the answer, as LangChain's models take them."""
        given = {name: value for name, value in self.model_dump().items() if name not in OF_THE_REQUEST}
        given = {name: value for name, value in given.items() if value is not None}
        further = {name: value for name, value in given.items() if name in OF_LANGCHAIN}
        given = {name: value for name, value in given.items() if name not in OF_LANGCHAIN}
        limit = self.max_completion_tokens or self.max_tokens
        return given | ({"max_tokens": limit} if limit else {}) | ({FURTHER: further} if further else {})

    @property
    def stops(self) -> list[str] | None:
        """`stop` as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    def conversation(self) -> list[BaseMessage]:
        """The messages as LangChain's.

        Raises:
            ApiError: One of them is not a message, or the question is empty.
        """
        try:
            messages = convert_to_messages([_plain(message) for message in self.messages])
        except (ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise ApiError(400, f"messages: {str(error).splitlines()[0]}", param="messages") from error
        if not any(_says_something(message) for message in messages):
            raise ApiError(400, "messages: the question is empty", param="messages")
        return messages


def _says_something(message: BaseMessage) -> bool:
    """Whether a message can be answered: it has text, or a part that is not text, such as an image."""
    if isinstance(message.content, list) and any(
        isinstance(part, dict) and part.get("type") not in ("text", None) for part in message.content
    ):
        return True
    return message.type in ("human", "tool", "system") and bool(str(message.text).strip())


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without nulls; the role `developer` becomes `system`."""
    kept = {key: value for key, value in message.items() if value is not None}
    if kept.get("role") == "developer":
        kept["role"] = "system"
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [_with_arguments(call) for call in calls]
    return {"content": ""} | kept


def _with_arguments(call: Any) -> Any:
    """A tool call whose empty arguments are an empty object, as OpenAI's clients send them back."""
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and not str(function.get("arguments") or "").strip():
        return {**call, "function": {**function, "arguments": "{}"}}
    return call


def read(kind: type[Body], body: bytes) -> Body:
    """Parse a request body.

    Raises:
        ApiError: 400, the body does not fit the schema; the message names the first error.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _api_error(error) from error


def translated(**fields: Any) -> Asked:
    """A request of another API as one to chat completions; fields that are None are left out.

    Raises:
        ApiError: 400, a field has a value that hafs does not support.
    """
    try:
        return Asked.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise _api_error(error) from error


def _api_error(error: ValidationError) -> ApiError:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or None
    return ApiError(400, f"{where or 'the body'}: {first['msg']}", param=where)
