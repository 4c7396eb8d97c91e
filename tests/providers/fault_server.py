"""A server on loopback that breaks in every way we know of, behind OpenAI's chat completions.

The first part of the path says how: `http://127.0.0.1:PORT/hang/v1`. Tests start it in a thread (`FaultServer`),
benchmarks in a process of its own (`python tests/providers/fault_server.py`, which prints its port).
"""

import asyncio
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate

TOKENS = [f"w{i} " for i in range(59)] + ["end."]
ANSWER = "".join(TOKENS)
LONG = 3600.0

HEADS = {  # status, headers, body
    "429_seconds": (429, {"Retry-After": "30"}, {"error": {"message": "Rate limit reached", "type": "requests"}}),
    "429_date": (429, {"Retry-After": "DATE"}, {"error": {"message": "Too many requests"}}),
    "429_huge": (429, {"Retry-After": "99999999999"}, {"error": {"message": "Too many requests"}}),
    "429_missing": (429, {}, {"error": {"message": "Too many requests"}}),
    "429_quota": (
        429,
        {},
        {
            "error": {
                "message": "You exceeded your current quota",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
    ),
    "402_credits": (402, {}, {"error": {"message": "Insufficient credits", "code": 402}}),
    "402_in_flight": (
        402,
        {"Retry-After": "1"},
        {"error": {"message": "In flight", "code": 402, "metadata": {"reason": "openrouter_in_flight_budget"}}},
    ),
    "401": (401, {}, {"error": {"message": "Incorrect API key provided: KEY"}}),
    "404_model": (404, {}, {"error": {"message": "The model does not exist", "code": "model_not_found"}}),
    "500_html": (500, {}, "<html><head><title>Internal Server Error</title></head></html>"),
    "503_html": (503, {}, "<!DOCTYPE html><html><title>Down</title></html>"),
    "400_context": (
        400,
        {},
        {"error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}},
    ),
    "307": (307, {"Location": "ELSEWHERE"}, ""),
    "200_error": (200, {}, {"error": {"message": "Provider returned error", "code": 502}}),
    "200_rate": (200, {}, {"error": {"message": "Rate limit exceeded: free-models-per-min", "code": 429}}),
    "200_html": (200, {}, "<html><body>Please sign in</body></html>"),
    "200_half": (200, {}, '{"id": "x", "choices": [{"mess'),
    "200_no_choices": (200, {}, {"id": "x", "choices": None}),
}
ADAPTERS = ("m", "hyrule-asm-v2", "hyrule-asm-v10", "yaze-sage")
"""What the server at `adapters` serves, as vLLM would: a base and its LoRA adapters, each as a model."""
STREAMS = ["hang", "slow_first_token", "drip", "cut_0", "cut_1", "cut_20", "reset", "error_event", "no_finish"]
STREAMS += ["null_content", "empty_content", "filtered"]
FAULTS = [*HEADS, *STREAMS]
"""All but `refused`, which is a port where nobody listens."""
QUICK = [
    "429_seconds",
    "500_html",
    "reset",
    "cut_0",
    "cut_1",
    "cut_20",
    "error_event",
    "no_finish",
    "200_error",
    "null_content",
]


@dataclass
class Call:
    """One request that arrived."""

    name: str
    """How it was to break."""
    began: float
    """time.monotonic, the same in all processes of a machine."""
    key: str
    body: dict
    headers: dict
    ended: float = 0.0


@dataclass
class FaultServer:
    """The server in a thread of its own; a context manager."""

    calls: list[Call] = field(default_factory=list)
    keep: bool = True
    """Whether bodies are kept."""
    slow_seconds: float = 0.25
    """Between pieces of `drip`."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self.loop).result()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.stop(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def start(self):
        self.turn = Counter()
        self.tasks = set()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self):
        self.server.close()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def url(self, name):
        if name == "refused":
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def count(self, name):
        return sum(call.name == name for call in self.calls)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            while await self.one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(asyncio.current_task())
            writer.close()

    async def one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        began = time.monotonic()
        first, *lines = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ", 2)
        name = path.strip("/").split("/")[0]
        if method == "GET":
            return await self.told(writer, path, name)
        asked = json.loads(raw)
        call = Call(name, began, headers.get("authorization", ""), asked if self.keep else {}, headers)
        self.calls.append(call)
        try:
            return await self.answer(writer, self.chosen(name), asked, call)
        finally:
            call.ended = time.monotonic()

    def chosen(self, name):
        """`mix20` breaks every fifth call, each time in another way."""
        if not name.startswith("mix"):
            return name
        self.turn[name] += 1
        every = 100 // int(name[3:])
        return QUICK[self.turn[name] // every % len(QUICK)] if self.turn[name] % every == 0 else "ok"

    async def told(self, writer, path, name):
        if path == "/calls":
            body = [[c.name, c.began, c.ended] for c in self.calls]
        elif name == "401":
            return await self.plain(writer, 401, {}, HEADS["401"][2])
        elif path.endswith("/key"):
            body = {"data": {"limit_remaining": 4.5, "usage": 0.5}}
        elif name == "adapters":
            body = {"object": "list", "data": [{"id": each, "object": "model"} for each in ADAPTERS]}
        else:
            body = {"data": [{"id": "m"}, {"id": "other"}], "models": [{"name": "m"}]}
        return await self.plain(writer, 200, {}, body)

    async def plain(self, writer, status, headers, body, key=""):
        text = body if isinstance(body, str) else json.dumps(body)
        text = text.replace("KEY", key.removeprefix("Bearer "))
        kind = "text/html" if text.startswith("<") else "application/json"
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(text.encode())}"]
        for word, value in headers.items():
            date, elsewhere = formatdate(time.time() + 30, usegmt=True), f"http://localhost:{self.port}/stolen/v1"
            lines.append(f"{word}: {value.replace('DATE', date).replace('ELSEWHERE', elsewhere)}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + text).encode())
        await writer.drain()
        return True

    async def answer(self, writer, name, asked, call):
        if name.startswith("ollama"):
            return await self.ollama(writer, asked, read=int(name.removeprefix("ollama") or 7))
        if name in HEADS:
            return await self.plain(writer, *HEADS[name], key=call.key)
        if name == "400_stream" and asked.get("stream"):
            error = "Your organization must be verified to stream this model."
            return await self.plain(writer, 400, {}, {"error": {"message": error, "param": "stream"}})
        if name == "adapters" and asked["model"] not in ADAPTERS:
            return await self.plain(writer, *HEADS["404_model"])
        if name == "hang":
            await asyncio.sleep(LONG)
        if name == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        tokens = remaining(asked["messages"])
        if name in ("short", "400_stream"):
            tokens = ["yes"]
        if asked.get("stream"):
            return await self.stream(writer, name, tokens, asked)
        return await self.whole(writer, name, tokens)

    async def ollama(self, writer, asked, read):
        """Ollama's own interface; `ollama8192` has read so many tokens of the prompt."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        for token in TOKENS:
            said = {"model": asked["model"], "message": {"role": "assistant", "content": token}, "done": False}
            writer.write(chunk(json.dumps(said).encode() + b"\n"))
        end = {"model": asked["model"], "message": {"role": "assistant", "content": ""}, "done": True}
        end |= {"done_reason": "stop", "prompt_eval_count": read, "eval_count": len(TOKENS)}
        writer.write(chunk(json.dumps(end).encode() + b"\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def whole(self, writer, name, tokens):
        content = {"null_content": None, "empty_content": ""}.get(name, "".join(tokens))
        finish = {"no_finish": None, "filtered": "content_filter"}.get(name, "stop")
        if name == "error_event":
            return await self.plain(writer, 200, {}, HEADS["200_error"][2])
        if name == "slow_first_token":
            await asyncio.sleep(LONG)
        body = json.dumps(completion(content, finish, len(tokens))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        if name.startswith("cut_"):
            writer.write(head + body[: len(body) * int(name[4:]) // 60])
            await writer.drain()
            writer.transport.close()
            return False
        if name == "drip":
            writer.write(head)
            for i in range(0, len(body), 8):
                writer.write(body[i : i + 8])
                await writer.drain()
                await asyncio.sleep(self.slow_seconds)
            return True
        writer.write(head + body)
        await writer.drain()
        return True

    async def stream(self, writer, name, tokens, asked):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
        await writer.drain()
        if name == "slow_first_token":
            await asyncio.sleep(LONG)
        if name in ("null_content", "empty_content"):
            tokens = [None if name == "null_content" else ""]
        stop = (
            int(name[4:])
            if name.startswith("cut_")
            else 20
            if name in ("error_event", "no_finish", "filtered")
            else len(tokens)
        )
        for token in tokens[:stop]:
            writer.write(event({"choices": [{"index": 0, "delta": {"content": token}}]}))
            if name == "drip":
                await writer.drain()
                await asyncio.sleep(self.slow_seconds)
        await writer.drain()
        if name.startswith("cut_"):
            writer.transport.close()
            return False
        if name == "error_event":
            error = {"code": 502, "message": "Provider disconnected"}
            writer.write(
                event({"error": error, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]})
            )
        elif name != "no_finish":
            finish = "content_filter" if name == "filtered" else "stop"
            writer.write(event({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
            if asked.get("stream_options"):
                writer.write(event({"choices": [], "usage": usage(len(tokens))}))
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True


def remaining(messages):
    """The answer's tokens; the quote and those that are left when it is to be continued, as a good model would."""
    given = next((m["content"] for m in messages[-2:] if m["role"] == "assistant" and m["content"]), "")
    if not given or not ANSWER.startswith(given):
        return TOKENS
    quote = re.search(r"<last>.*?</last>", messages[-1]["content"], re.S)
    return [*([quote[0]] if quote else []), *re.findall(r"\s*\S+", ANSWER[len(given) :])]


def usage(tokens):
    return {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens, "cost": 0.0125}


def completion(content, finish, tokens):
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage(tokens),
    }


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(facts):
    whole = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", **facts}
    return chunk(f"data: {json.dumps(whole)}\n\n".encode())


async def forever():
    server = FaultServer(keep=False)
    await server.start()
    print(server.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started us goes away
    await server.stop()


if __name__ == "__main__":
    asyncio.run(forever())
