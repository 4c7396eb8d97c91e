"""A loaded net as an lm-eval model; hafs packs the likelihoods and batches the answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM  # type: ignore
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # type: ignore

from hafs.chat import end_tokens
from hafs.data.samples import Sample
from hafs.evaluation.rows import micro_batch_tokens_of
from hafs.modeling.generation import Decoder, Generation, Pieces, Sampling, active_adapter, for_inference
from hafs.modeling.generation.stop import StopWords
from hafs.modeling.likelihood import likelihoods

LONGEST_ANSWER = 256
"""Tokens, if a task has no limit."""


class HarnessModel(TemplateLM):
    """The interface that lm-eval calls; prompts are the tasks' own plain text.

    Args:
        net: The model, its adapter on or off.
        tokenizer: Its tokenizer.
        concurrency: Answers generated concurrently.
    """

    def __init__(self, net: Any, tokenizer: Any, *, concurrency: int) -> None:
        super().__init__()
        self.net, self.tokenizer, self.concurrency = net, tokenizer, concurrency
        self.max_length = int(net.config.max_position_embeddings)

    @property
    def eot_token_id(self) -> int:
        """What a text begins with that has no context."""
        return min(end_tokens(self.tokenizer))

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids of a text."""
        return self.tokenizer.encode(string, add_special_tokens=bool(add_special_tokens), **kwargs)

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        samples = [self._sample(context, answer) for _, context, answer in requests]
        with for_inference(self.net):
            found = likelihoods(self.net, samples, micro_batch_tokens=micro_batch_tokens_of(self.net))
        return [(-likely.nats, likely.correct == likely.tokens) for likely in found]

    def _sample(self, context: Sequence[int], answer: Sequence[int]) -> Sample:
        """The answer counts, the context does not; a sequence that is too long keeps its end."""
        tokens = np.array([*context, *answer][-self.max_length :], np.int32)
        return Sample("", tokens, np.arange(len(tokens)) >= len(tokens) - len(answer))

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The likelihood of whole texts, in windows."""
        return [sum(nats for nats, _ in self._loglikelihood_tokens(self._windows(r.args[0]))) for r in requests]

    def _windows(self, text: str) -> list[tuple[None, list[int], list[int]]]:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text), prefix_token=self.eot_token_id, max_seq_len=self.max_length, context_len=1
        )
        return [(None, *make_disjoint_window(window)) for window in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers up to the first of a task's stop texts."""
        ongoing = [_Answer(self, *request.args) for request in requests]
        by_row = {id(answer.row): answer for answer in ongoing}
        decoder = Decoder(self.net, ends=end_tokens(self.tokenizer), rows=self.concurrency)
        with for_inference(self.net):
            for answer in sorted(ongoing, key=lambda answer: -len(answer.row.prompt)):
                decoder.add(answer.row)
            while decoder:
                for row, token in decoder.step():
                    if by_row[id(row)].hear(token):
                        decoder.drop(row)
        return [answer.text for answer in ongoing]


class _Answer:
    """An answer that is being generated, with its stop texts."""

    def __init__(self, model: HarnessModel, context: str, wanted: dict[str, Any]) -> None:
        limit = int(wanted.get("max_gen_toks", LONGEST_ANSWER))
        prompt = model.tok_encode(context)[-(model.max_length - limit) :]
        heat = float(wanted.get("temperature", 0.0)) if wanted.get("do_sample") else 0.0
        sampling = Sampling(temperature=heat, top_p=float(wanted.get("top_p", 1.0)), seed=0)
        self.row = Generation(prompt, adapter=active_adapter(model.net), limit=limit, sampling=sampling)
        until = wanted.get("until") or []
        self._stop = StopWords([until] if isinstance(until, str) else until)
        self._pieces = Pieces(model.tokenizer)
        self.text = ""

    def hear(self, token: int | None) -> bool:
        """Take the next token; True: a stop text was found, so generation ends."""
        self.text += self._stop.feed(self._pieces.add(token))
        if self.row.finish == "length":
            self.text += self._stop.feed(self._pieces.add(None))
        if self.row.finish:
            self.text += self._stop.end()
        return self._stop.found and not self.row.finish
