"""An API that the server offers: how it reads a request, and formats an answer, a stream and an error."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hafs.server.api_error import ApiError
from hafs.server.asked import Asked


class Event(NamedTuple):
    """A server-sent event."""

    data: Any
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The facts of an answer at its end."""

    usage: Mapping[str, Any] | None = None
    """Of LangChain; None: the tokens were not counted."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """`response_metadata` of the answer."""
    called: bool = False
    """Whether the answer calls tools."""

    @property
    def finish(self) -> str:
        """The finish reason under OpenAI's name."""
        if self.called:
            return "tool_calls"
        said = str(self.metadata.get("finish_reason") or "stop")
        return said if said in ("stop", "length", "tool_calls", "content_filter") else "stop"

    @property
    def receipt(self) -> dict[str, Any]:
        """The receipt without paths on the server."""
        return {key: value for key, value in self.metadata.get("receipt", {}).items() if key != "file"}

    @property
    def logprobs(self) -> Any:
        """Log-probabilities, if the provider reported them."""
        return self.metadata.get("logprobs")

    @property
    def answered_by(self) -> str:
        """The models that answered: `expert=provider/model`, separated by commas."""
        receipt = self.receipt
        parts = [*receipt.get("experts", []), *([receipt["synthesizer"]] if receipt.get("synthesizer") else [])]
        return ",".join(
            f"{part['name']}={attempt['provider']}/{attempt['model']}"
            for part in parts
            for attempt in part["attempts"]
            if attempt["outcome"] == "answered"
        )


class Writer(ABC):
    """Formats one answer; a new one for each request."""

    @abstractmethod
    def whole(self, message: Any, end: Conclusion) -> dict[str, Any]:
        """The body of a complete answer."""

    @abstractmethod
    def begin(self) -> Iterable[Event]:
        """The events before the first part of the answer."""

    @abstractmethod
    def part(self, message: Any) -> Iterable[Event]:
        """The events of a chunk of LangChain's."""

    @abstractmethod
    def end(self, end: Conclusion) -> Iterable[Event]:
        """The events after the last part."""

    @abstractmethod
    def broken(self, error: ApiError) -> Iterable[Event]:
        """The events of a stream that ends in an error."""


class Dialect(ABC):
    """An API."""

    @abstractmethod
    def question(self, body: bytes) -> tuple[Asked, Writer]:
        """The request, and the writer of its answer.

        Raises:
            ApiError: 400, the body is not a request.
        """

    def error_body(self, error: ApiError) -> dict[str, Any]:
        """The body of an error."""
        return error.body
