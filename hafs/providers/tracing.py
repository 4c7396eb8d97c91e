"""Tracing: calls and steps as nested LangChain runs; without a tracer no run is created.

callbacks = below_run(run_manager)              for calls nested in a run
async with step(callbacks, "router", ...)       a run of our own, with nested calls
await asked(model, messages, call, callbacks)   a model's public `ainvoke`, as a child run
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager, UsageMetadataCallbackHandler
from langchain_core.callbacks.manager import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.utils.uuid import uuid7

Callbacks = AsyncCallbackManager | None
"""For child runs; None: not traced."""
INSIDE = "nostream"
"""Tag of child runs: LangGraph streams only the tokens of runs without it."""
OWN_IDS = "lc_run-"
"""Prefix of message ids that LangChain assigns."""


def below_run(run: Any) -> Callbacks:
    """The callbacks for calls nested in a run.

    Args:
        run: LangChain's run manager of a chat model, sync or async, or None.
    """
    if run is None or not run.inheritable_handlers:
        return None
    return _child(run.run_id, run.inheritable_handlers, run.inheritable_tags, run.inheritable_metadata)


def below(kind: type[BaseCallbackManager], config: RunnableConfig) -> tuple[RunnableConfig, Callbacks]:
    """A config for a run that LangChain is about to start, and the callbacks for calls nested in it.

    Args:
        kind: LangChain's callback manager, sync or async.
        config: The config of the run.
    """
    manager: Any = kind.configure(config.get("callbacks"), None)  # type: ignore[attr-defined]
    if not manager.inheritable_handlers:
        return config, None
    run_id = config.get("run_id") or uuid7()
    children = _child(
        run_id,
        manager.inheritable_handlers,
        [*manager.inheritable_tags, *(config.get("tags") or [])],
        {**manager.inheritable_metadata, **(config.get("metadata") or {})},
    )
    return {**config, "callbacks": manager, "run_id": run_id}, children


def _child(run_id: Any, handlers: list[Any], tags: list[str], metadata: Mapping[str, Any]) -> Callbacks:
    """Without handlers that count tokens: the outermost run has the total."""
    listening = [handler for handler in handlers if not isinstance(handler, UsageMetadataCallbackHandler)]
    if not listening:
        return None
    callbacks = AsyncCallbackManager(handlers=[], parent_run_id=run_id)
    callbacks.set_handlers(listening)
    callbacks.add_tags([*tags, INSIDE])
    callbacks.add_metadata({key: value for key, value in metadata.items() if not key.startswith("ls_")})
    return callbacks


@dataclass(kw_only=True)
class Step:
    """A run of our own."""

    callbacks: Callbacks
    """For nested calls."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """The outputs of the run."""

    def context(self) -> Context:
        """A context in which LangChain's models inherit the callbacks: for code that does not pass them on."""
        if self.callbacks is None:
            return copy_context()
        with set_config_context({"callbacks": self.callbacks}) as context:
            return context.copy()


def step(callbacks: Callbacks, kind: str, name: str, inputs: Mapping[str, Any]) -> AbstractAsyncContextManager[Step]:
    """A part of an answer as a run.

    Args:
        callbacks: Of the parent run; None: not traced, and no run is created.
        kind: router, expert or synthesizer.
        name: The part's name.
        inputs: The inputs of the run.
    """
    return nullcontext(Step(callbacks=None)) if callbacks is None else _run(callbacks, kind, name, inputs)


@asynccontextmanager
async def _run(callbacks: AsyncCallbackManager, kind: str, name: str, inputs: Mapping[str, Any]) -> AsyncIterator[Step]:
    begun = AsyncCallbackManager(
        handlers=callbacks.handlers,
        inheritable_handlers=callbacks.inheritable_handlers,
        parent_run_id=callbacks.parent_run_id,
        tags=[*callbacks.tags, f"hafs:{kind}"],
        inheritable_tags=callbacks.inheritable_tags,
        metadata={**callbacks.metadata, "hafs": kind},
        inheritable_metadata=callbacks.inheritable_metadata,
    )
    run = await begun.on_chain_start(None, dict(inputs), name=f"{kind} {name}")
    found = Step(callbacks=run.get_child())
    try:
        yield found
    except BaseException as error:
        await run.on_chain_error(error)
        raise
    await run.on_chain_end(found.outputs)


async def asked(
    model: BaseChatModel,
    messages: list[BaseMessage],
    call: Mapping[str, Any],
    callbacks: Callbacks,
    *,
    name: str,
    facts: Mapping[str, Any],
) -> ChatGeneration:
    """A model's complete answer.

    Args:
        model: Any of LangChain's.
        messages: The conversation.
        call: Parameters of the call.
        callbacks: Of the parent run; None: not traced, and the model is called directly.
        name: Name of the run.
        facts: Metadata of the run.
    """
    if callbacks is None and model.callbacks is None:
        return (await model._agenerate(messages, **call)).generations[0]
    run_id = uuid7()
    try:
        message = await model.ainvoke(messages, _config(callbacks, name, facts, run_id), **call)
    except asyncio.CancelledError as error:
        await _ended(callbacks, run_id, error)
        raise
    if (message.id or "").startswith(OWN_IDS):
        message.id = None  # the message is passed on as that of the parent run
    return ChatGeneration(message=message)


async def streamed(
    model: BaseChatModel,
    messages: list[BaseMessage],
    call: Mapping[str, Any],
    callbacks: Callbacks,
    *,
    name: str,
    facts: Mapping[str, Any],
) -> AsyncIterator[ChatGenerationChunk]:
    """A model's answer as a stream, or in one piece if it cannot stream; same arguments as `asked`."""
    kind = type(model)
    if kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
        whole = await asked(model, messages, call, callbacks, name=name, facts=facts)
        message = AIMessageChunk(**whole.message.model_dump(exclude={"type"}))
        yield ChatGenerationChunk(message=message, generation_info=whole.generation_info)
        return
    if callbacks is None and model.callbacks is None:
        async with aclosing(model._astream(messages, **call)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk
        return
    came = False
    try:
        async with aclosing(model.astream(messages, _config(callbacks, name, facts, uuid7()), **call)) as stream:  # type: ignore[type-var]
            async for message in stream:
                came = True
                yield ChatGenerationChunk(message=message)
    except ValueError as error:
        if came or str(error) != "No generation chunks were returned":
            raise


def _config(callbacks: Callbacks, name: str, facts: Mapping[str, Any], run_id: UUID) -> RunnableConfig:
    return {"callbacks": callbacks, "run_name": name, "run_id": run_id, "metadata": dict(facts)}


async def _ended(callbacks: Callbacks, run_id: Any, error: BaseException) -> None:
    """End the run of a cancelled call, which LangChain leaves open."""
    if callbacks is not None:
        run = AsyncCallbackManagerForLLMRun(
            run_id=run_id,
            handlers=callbacks.handlers,
            inheritable_handlers=callbacks.inheritable_handlers,
            parent_run_id=callbacks.parent_run_id,
        )
        await run.on_llm_error(error)
