"""A host with OpenAI's chat completions on loopback: calls tools, thinks and fills schemas, as a good model would."""

import json

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

USAGE = {
    "prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip


def said(body):
    """The message of the answer: reasoning, then a call, a document, or what the tool returned."""
    thought = {"reasoning_content": "Let me see."} if body.get("reasoning_effort") else {}
    last = body["messages"][-1]
    if last["role"] == "tool":
        return thought | {"content": f"It is {last['content']}."}
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": '{"bank": 5}'}}
        return thought | {"content": None, "tool_calls": [call]}
    if "json_schema" in (body.get("response_format") or {}):
        return thought | {"content": '{"opcode": "lda", "bytes": 3}'}
    return thought | {"content": f"You said: {text_of(last['content'])}"}


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "[image]") for part in content)


def deltas(message):
    yield {"role": "assistant", "content": ""}
    if thought := message.get("reasoning_content"):
        yield {"reasoning_content": thought[:5]}
        yield {"reasoning_content": thought[5:]}
    for word in (message["content"] or "").split(" ") if message["content"] else ():
        yield {"content": word + " "}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        yield {"tool_calls": [{"index": 0, **call, "function": function | {"arguments": ""}}]}
        yield {"tool_calls": [{"index": 0, "function": {"arguments": function["arguments"][:4]}}]}
        yield {"tool_calls": [{"index": 0, "function": {"arguments": function["arguments"][4:]}}]}


class Host:
    """The application, and the bodies that it was sent."""

    def __init__(self):
        self.bodies = []
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])

    async def answer(self, request):
        body = await request.json()
        self.bodies.append(body)
        message = said(body)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
            return JSONResponse({"id": "c", "model": "m", "choices": [choice], "usage": USAGE})

        async def events():
            for delta in deltas(message):
                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"
            end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
            yield f"data: {json.dumps(end)}\n\ndata: {json.dumps({'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")
