"""Serves an exported GGUF with a real llama.cpp server and requests its probabilities."""

import gc
import importlib
import importlib.util
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

from hafs.chat import Conversation, Message
from hafs.core.errors import ConfigError, RunError
from hafs.registry.export.compare import Partial, Place

TOLD = 400
"""Number of most likely tokens requested from the server."""


class Served:
    """A running server.

    Args:
        client: Speaks to it.
        adapted: Whether requests ask for its one adapter.
    """

    def __init__(self, client: httpx.Client, *, adapted: bool) -> None:
        self._client, self._lora = client, {"lora": [{"id": 0, "scale": 1.0}]} if adapted else {}
        self._plain = self._post("/tokenize", {"content": "a", "add_special": False})["tokens"][0]

    def ids(self, prompt: Conversation) -> list[int]:
        """Token ids of a prompt by the file's own template and tokenizer, with the BOS that the server puts first."""
        body: dict[str, Any] = {"messages": [_asked(message) for message in prompt]}
        body |= {"tools": list(prompt[0].tools)} if prompt[0].tools else {}
        text = self._post("/apply-template", body)["prompt"]
        return self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def told(self, asked: Sequence[Place]) -> list[Partial]:
        """The most likely next tokens at each place."""
        return [self._told(place) for place in asked]

    def _told(self, place: Place) -> Partial:
        """The most likely next tokens, before any sampling.

        They come with a drawn token, but not with one that ends or is half a character: so a letter is drawn.
        """
        wanted = {"prompt": place.before, "n_predict": 1, "n_probs": TOLD, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
                  "min_p": 0.0, "samplers": ["temperature"], "cache_prompt": True, "seed": 1,
                  "logit_bias": [[self._plain, 1e4]]}  # fmt: skip
        answer = self._post("/completion", wanted | self._lora)
        if not answer.get("completion_probabilities"):
            raise RunError(
                "llama.cpp returned no probabilities of the next token", hint="install another version of xllamacpp"
            )
        first = answer["completion_probabilities"][0]
        return Partial(nats={each["id"]: each["logprob"] for each in first["top_logprobs"] if each["logprob"] > -1e3})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(path, json=body)
        if answer.is_error:
            raise RunError(f"llama.cpp rejected the export: {answer.text[:200]}")
        return answer.json()


def _asked(message: Message) -> dict[str, Any]:
    """A message as OpenAI's clients send it: the arguments of calls are JSON text."""
    row = {key: value for key, value in message.as_row().items() if key != "tools"}
    for call in row.get("tool_calls", ()):
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return row


@contextmanager
def serving(model: Path, *, adapter: Path | None = None, context: int = 2048) -> Iterator[Served]:
    """A server of a GGUF file, for the length of the block.

    Raises:
        ConfigError: xllamacpp is not installed.
        RunError: llama.cpp does not load the file.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError("a GGUF is only accepted once llama.cpp has served it, and xllamacpp is not installed",
                          hint="pip install 'hafs[llamacpp]'")  # fmt: skip
    xllamacpp: Any = importlib.import_module("xllamacpp")  # a compiled module without type stubs
    key = secrets.token_urlsafe(24)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [key]
    params.n_ctx, params.n_parallel = context, 1
    params.verbosity, params.warmup = -1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    params.lora_init_without_apply = True
    if adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 0.0)]
    try:
        server: Any = xllamacpp.Server(params)
    except Exception as error:
        raise RunError(f"llama.cpp cannot load {model.name}: {str(error).splitlines()[0]}") from error
    try:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=server.listening_address, headers=headers, timeout=300, trust_env=False) as client:
            yield Served(client, adapted=adapter is not None)
    finally:
        del server
        gc.collect()
