"""Continuous batching: answers (rows of the batch) begin and end at any step, each with its own adapter or none.

A step is one pass over the next token of every running row, and one packed pass over the prompts of the rows that join.
Except for rounding, a row's result does not depend on the other rows (docs/explanation/benchmarks.md), so its answer is
the same as without them.

Legend: `B` rows, `T` tokens, `D` width, `V` vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Literal, NamedTuple

import torch

from hafs.core.errors import HafsError
from hafs.modeling import model_parts, out_of_memory
from hafs.modeling.adapter.lora_forward import Share, chosen, sharable, shares_of
from hafs.modeling.generation.admission import Admission
from hafs.modeling.generation.fast_step import FastStep
from hafs.modeling.generation.grammar import Grammar
from hafs.modeling.generation.products import NotProduct
from hafs.modeling.generation.sampling import Sampling, next_tokens
from hafs.modeling.kv_cache import KVCache

Finish = Literal["stop", "length"]
PROMPT_TOKENS = 4096
"""Prompt tokens of one packed pass; a longer prompt goes alone."""


class Generation:
    """One answer that is being generated.

    Args:
        prompt: Its token ids.
        adapter: Name of an adapter that the net holds; None: the base alone.
        limit: Longest answer, in tokens.
        sampling: How its tokens are drawn; greedy where nothing is said.
        grammar: Constrains the answer; None: no constraint.
    """

    def __init__(
        self, prompt: Sequence[int], *, adapter: str | None, limit: int, sampling: Sampling | None = None,
        grammar: Grammar | None = None,
    ) -> None:  # fmt: skip
        self.prompt, self.adapter, self.limit = list(prompt), adapter, limit
        self.sampling, self.grammar = sampling or Sampling(), grammar
        self.said: list[int] = []
        self.memory: Mapping[str, Any] | None = None  # a model's own cache, where it has to be used
        self.finish: Finish | None = None

    @property
    def context(self) -> list[int]:
        """Its prompt and the tokens generated so far."""
        return [*self.prompt, *self.said]

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Add the next token; an end token ends the answer and is not part of it."""
        if token in ends:
            self.finish = "stop"
            return
        if self.grammar:
            self.grammar.take(token)
        self.said.append(token)
        if len(self.said) >= self.limit:
            self.finish = "length"


class Token(NamedTuple):
    """The result of one step for one row."""

    row: Generation
    token: int | None
    """The new token; None: the row ended with an end token."""


class Decoder:
    """The rows of one net. Not thread-safe.

    Args:
        net: A model set for inference, with its adapters.
        ends: Token ids that end an answer.
        rows: The number of concurrent rows, if their keys and values fit in memory; others wait.
        admitted: Called with rows that stop waiting, before their prompts are read.
        fast_step: Returns the fast step of the net, if it has one; called with the first step after a prompt.
    """

    def __init__(
        self, net: Any, *, ends: Iterable[int], rows: int = 16,
        admitted: Callable[[Sequence[Generation]], None] = lambda _: None,
        fast_step: Callable[[], FastStep | None] = lambda: None,
    ) -> None:  # fmt: skip
        self.net, self.ends, self.rows, self._admitted = net, frozenset(ends), rows, admitted
        self._fast_step = fast_step
        self.model, self.head, self.cache = (
            model_parts.decoder_of(net),
            model_parts.head(net),
            model_parts.run_mode(net).cache,
        )
        self.rope_limit = model_parts.rope_limit(net)
        self.active = active_adapter(net)
        self.sharable = self.active is None or sharable(net)
        self.kv_cache = KVCache()
        self.running: list[Generation] = []
        self.waiting: list[Generation] = []
        self.at_most, self.admission = rows, Admission.of(net)

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.head.weight_VD.device

    def add(self, row: Generation) -> None:
        """Let a row join as soon as there is room."""
        self.waiting.append(row)

    def drop(self, row: Generation) -> None:
        """Drop a row whose answer is no longer needed; its slot is free immediately."""
        if row in self.waiting:
            self.waiting.remove(row)
        elif row in self.running:
            self._leave([row])

    def __bool__(self) -> bool:
        return bool(self.running or self.waiting)

    @torch.no_grad()
    def step(self) -> list[Token]:
        """One token for every running row, and the first one of those that join; ended rows are gone afterwards."""
        if not self:
            return []
        with self.taking((self.running or self.waiting)[0].adapter):
            told = self._within_memory(lambda _: self._continue(), self.running) if self.running else []
            joining = self._next_joining()
            if joining:
                self._admitted(joining)
                told += self._within_memory(self._join, joining)
        self._leave([row for row in self.running if row.finish])
        if not self:
            self.kv_cache.clear()
            self.rows = self.at_most
        return told

    def _within_memory(self, work: Callable[[list[Generation]], list[Token]], rows: list[Generation]) -> list[Token]:
        """Run a step; if memory runs out, all rows wait again with their tokens, and half as many run from then on."""
        try:
            return work(rows)
        except Exception as error:
            begun = [*self.running, *(row for row in rows if row not in self.running)]
            if len(begun) < 2 or not out_of_memory.is_out_of_memory(error):
                raise
        self.rows = len(begun) // 2  # outside the handler: the error keeps the failed tensors alive
        self.running, self.waiting = [], [*(row for row in begun if not row.finish), *self.waiting]
        for row in begun:
            row.memory = None
        self.kv_cache.clear()
        out_of_memory.free_cache()
        return []

    def taking(self, adapter: str | None) -> AbstractContextManager[Any]:
        """Context for passes with one adapter, for models whose adapters cannot be selected per token.

        Raises:
            HafsError: Another adapter of the model is active.
        """
        if self.sharable or adapter == self.active:
            return nullcontext()
        if adapter is not None:
            raise HafsError(
                f"adapter {adapter!r} cannot be used together with {self.active!r}: it trains more than LoRA layers"
            )
        return self.net.disable_adapter()

    def _next_joining(self) -> list[Generation]:
        room, tokens, joining = self.rows - len(self.running), 0, []
        while self.waiting and len(joining) < room:
            if not self.sharable and self.waiting[0].adapter != (self.running + joining + self.waiting)[0].adapter:
                break  # wait until the answers with the other adapter have ended
            tokens += len(self.waiting[0].context)
            if joining and tokens > PROMPT_TOKENS:
                break
            alone = any(map(self._runs_alone, (*self.running, *joining, self.waiting[0])))
            if alone and (self.running or joining):
                break
            if not self.admission.admits([*self.running, *joining, self.waiting[0]]):
                break
            joining.append(self.waiting.pop(0))
        return joining

    def _runs_alone(self, row: Generation) -> bool:
        """Whether a row may become so long that the rotary frequencies change for all rows of its pass."""
        return self.rope_limit is not None and len(row.prompt) + row.limit > self.rope_limit

    def _join(self, rows: list[Generation]) -> list[Token]:
        if self.cache != "hafs":
            self.running += rows
            return self._one_by_one(rows)
        counts = [len(row.context) for row in rows]
        self.kv_cache.begin_packed([(self.kv_cache.open(), count) for count in counts])
        self.running += rows
        hidden_TD = self.packed([row.context for row in rows], [0] * len(rows), [row.adapter for row in rows])
        ends_B = torch.tensor(counts, device=self.device).cumsum(0) - 1
        return self._take(rows, self.logits(hidden_TD[ends_B]))

    def packed(
        self, prompts: Sequence[Sequence[int]], past: Sequence[int], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        """Hidden states, `[T, D]`, of prompts end to end, planned in the KV cache; `past`: their first positions."""
        ids_T = torch.tensor([token for prompt in prompts for token in prompt], device=self.device)
        places = [torch.arange(n, n + len(p), device=self.device) for n, p in zip(past, prompts, strict=True)]
        return self._pass(ids_T[None], torch.cat(places)[None], adapters, [len(p) for p in prompts])[0]

    def _continue(self) -> list[Token]:
        if self.cache != "hafs":
            return self._one_by_one(self.running)
        places_B1 = self.kv_cache.begin_step(self.device)
        rows = (self.running * 2)[: len(places_B1)]  # a single row is doubled, see `begin_step`
        ids_B1 = torch.tensor([[row.said[-1]] for row in rows], device=self.device)
        logits_BV = self._step_logits(ids_B1, places_B1, [row.adapter for row in rows])
        return self._take(self.running, logits_BV[: len(self.running)])

    def _step_logits(self, ids_B1: torch.Tensor, places_B1: torch.Tensor, adapters: Sequence[str | None]):
        if self.sharable and (fast := self._fast_step()) is not None:
            with suppress(NotProduct):  # an adapter that is more than two matrices; nothing is stored yet
                return fast.logits(fast.hidden(ids_B1, places_B1, self.kv_cache, adapters))
        hidden_B1D = self._pass(ids_B1, places_B1, adapters, [1] * len(adapters))
        return self.logits(hidden_B1D[:, 0])

    def _one_by_one(self, rows: Sequence[Generation]) -> list[Token]:
        """The next token of each answer, each from its own forward pass."""
        return self._take(rows, self.logits(torch.stack([self._alone(row)[-1] for row in rows])))

    def _alone(self, row: Generation) -> torch.Tensor:
        if self.cache == "none":
            return self.whole(row.context, row.adapter)
        tokens_T = torch.tensor(row.said[-1:] if row.memory else row.context, device=self.device)
        with chosen(self._shares([row.adapter], [len(tokens_T)])):
            hidden_TD, row.memory = model_parts.continue_with_own_cache(self.net, tokens_T, row.memory)
        return hidden_TD

    def whole(self, tokens: Sequence[int], adapter: str | None) -> torch.Tensor:
        """Hidden states, `[T, D]`, of one whole sequence; nothing is cached."""
        tokens_T, places_T = torch.tensor([tokens, range(len(tokens))], device=self.device)
        with chosen(self._shares([adapter], [len(tokens)])):
            return model_parts.hidden_states(self.net, tokens_T, places_T, [0, len(tokens)])

    def _pass(self, ids: torch.Tensor, places: torch.Tensor, adapters: Sequence[str | None], counts: Sequence[int]):
        with chosen(self._shares(adapters, counts)):
            out = self.model(input_ids=ids, position_ids=places, use_cache=False, kv_cache=self.kv_cache)
        return out.last_hidden_state

    def _shares(self, adapters: Sequence[str | None], counts: Sequence[int]) -> Sequence[Share] | None:
        alike = self.active is not None and set(adapters) == {self.active}
        return None if alike or not self.sharable else shares_of(adapters, counts, self.device)

    def logits(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, `[B, V]`, float32."""
        head = self.head if self.sharable else model_parts.head(self.net)  # the adapter may have its own copy
        return head.logits(hidden_BD)

    def _take(self, rows: Sequence[Generation], logits_BV: torch.Tensor) -> list[Token]:
        told = []
        for row, logits_V in zip(rows, logits_BV, strict=True):
            if row.grammar:
                row.grammar.restrict(logits_V)
        for row, token in zip(rows, next_tokens(logits_BV, [row.sampling for row in rows]), strict=True):
            row.take(token, self.ends)
            told.append(Token(row, None if row.finish == "stop" else token))
        return told

    def _leave(self, rows: Sequence[Generation]) -> None:
        for row in rows:
            slot = self.running.index(row)
            row.memory = None
            if self.cache == "hafs":
                self.kv_cache.close(slot)
            last = self.running.pop()
            if last is not row:
                self.running[slot] = last


def decode(net: Any, rows: Iterable[Generation], *, ends: Iterable[int], concurrency: int = 16) -> Iterator[Token]:
    """Run rows to their ends; yields every token of every row as it is generated."""
    decoder = Decoder(net, ends=ends, rows=concurrency)
    for row in rows:
        decoder.add(row)
    while decoder:
        yield from decoder.step()


def active_adapter(net: Any) -> str | None:
    """The adapter that a plain pass through the net uses; None: it has none."""
    from peft import PeftModel

    return str(net.active_adapter) if isinstance(net, PeftModel) else None
