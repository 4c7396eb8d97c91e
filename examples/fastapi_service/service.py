"""The council inside an LCEL chain, streamed by a FastAPI service of your own.

    pip install hafs
    COUNCIL="provider=openrouter router=keyword" uvicorn service:app
    curl -N "http://127.0.0.1:8000/explain?code=lda%20%231"

`hafs serve` needs no code and speaks OpenAI's protocol; this is for a service that has endpoints of its own.
"""

import os
import shlex
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from hafs import council
from hafs.core.errors import AllProvidersDown

experts = council(shlex.split(os.environ.get("COUNCIL", "provider=scripted router=keyword")))
prompt = ChatPromptTemplate.from_messages([("human", "Explain this assembly code line by line:\n\n{code}")])
chain = prompt | experts | StrOutputParser()
app = FastAPI()


@app.get("/explain")
async def explain(code: str) -> StreamingResponse:
    """The explanation as it comes."""

    async def pieces() -> AsyncIterator[str]:
        try:
            async for piece in chain.astream({"code": code}):
                yield piece
        except AllProvidersDown as error:
            yield f"\nNo provider could answer: {error.fact}\n"

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/experts")
async def who(question: str) -> dict[str, float]:
    """How well each expert suits a question; calls no expert."""
    return dict((await experts.aroute(question)).scores)
