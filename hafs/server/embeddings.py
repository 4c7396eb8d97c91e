"""OpenAI's /v1/embeddings: the sentence vectors of the router's encoder."""

import asyncio
import base64
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hafs.council.router.encoder import Encoder
from hafs.server.api_error import ApiError
from hafs.server.asked import read


class EmbeddingsRequest(BaseModel):
    """A request; token ids are rejected, because the encoder has its own vocabulary."""

    model_config = ConfigDict(extra="allow")

    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


async def embeddings(body: bytes, encoder: Encoder | None) -> dict[str, Any]:
    """The answer: a unit vector per text, of 384 numbers with the shipped encoder; computed in a thread.

    Raises:
        ApiError: 400, the body is not a request, or the vectors have other dimensions; 404, there is no encoder.
    """
    if encoder is None:
        raise ApiError(404, "the router has no encoder; router=cascade has one", code="model_not_found")
    asked = read(EmbeddingsRequest, body)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    vectors_ND, tokens = await asyncio.to_thread(_computed, encoder, texts)
    if asked.dimensions not in (None, vectors_ND.shape[1]):
        raise ApiError(400, f"dimensions: the vectors have {vectors_ND.shape[1]}", param="dimensions")
    data = [
        {"object": "embedding", "index": index, "embedding": _told(vector_D, asked.encoding_format)}
        for index, vector_D in enumerate(vectors_ND)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked.model, "usage": usage}


def _computed(encoder: Encoder, texts: list[str]) -> tuple[np.ndarray, int]:
    return encoder.topics(encoder.vectors(texts)), encoder.tokens(texts)


def _told(vector_D: np.ndarray, form: str) -> Any:
    if form == "float":
        return vector_D.tolist()
    return base64.b64encode(vector_D.astype("<f4").tobytes()).decode()
