"""An error response: its status, and its body in OpenAI's schema."""

from starlette.responses import JSONResponse

LONGEST_CLIENT_WAIT = 60
"""The longest Retry-After that OpenAI's clients respect, in seconds; above it they choose their own delay."""


class ApiError(Exception):
    """A request that is not answered."""

    def __init__(
        self, status: int, message: str, *, kind: str = "invalid_request_error", param: str | None = None,
        code: str | None = None, retry_after: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    @property
    def message(self) -> str:
        """What is wrong."""
        return str(self.args[0])

    @property
    def headers(self) -> dict[str, str]:
        """Headers that tell a client whether to retry, and when."""
        headers = {"retry-after": str(self.retry_after)} if self.retry_after else {}
        if self.retry_after and self.retry_after > LONGEST_CLIENT_WAIT:
            headers["x-should-retry"] = "false"  # OpenAI's clients would retry within seconds
        return headers

    def response(self) -> JSONResponse:
        """The HTTP response."""
        return JSONResponse(self.body, status_code=self.status, headers=self.headers)
