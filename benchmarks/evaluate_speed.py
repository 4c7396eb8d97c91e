"""What an evaluation takes, and what answering many prompts at once is worth.

    python benchmarks/evaluate_speed.py [RUN]

Evaluates a finished run of the shipped sample (its whole test split, 64 new tokens, base and tuned) through the door's
own function, in all the seconds that its user waits; then answers some prompts again one at a time, holds the answers
against the evaluation's, and compares seconds a token. Also holds the perplexity of both sides against transformers'
own loss on the same tokens.
"""

import json
import math
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from hafs import gate
from hafs.config import compose
from hafs.errors import GateRefused
from hafs.evaluate import evaluate
from hafs.evaluation.rows import answers, asked, put_to
from hafs.evaluation.subject import Loaded, data_of, find_run, held_out, open_run
from hafs.generation import at_rest

ALONE = 8


def main() -> None:
    began, folder = time.perf_counter(), find_run(*(sys.argv[1:] or [None]))
    with suppress(GateRefused):
        evaluate(compose("evaluate", ["max_new_tokens=64", f"name={folder}"]))
    print(f"\nevaluation: {time.perf_counter() - began:.1f} s, loading included")
    subject, measured = open_run(folder), gate.read(folder).metrics["seconds_a_token"]
    loaded = Loaded(subject)
    split = held_out(subject, data_of(subject, loaded.tokenizer))
    conversations = [split.conversation(i) for i in range(len(split))]
    told = [json.loads(line) for line in (folder / "evaluation_rows.jsonl").read_text().splitlines()]
    for side, net_of, together in (("base", loaded.base, measured.base), ("tuned", loaded.tuned, measured.tuned)):
        with net_of() as net:
            speed(side, net, loaded.tokenizer, conversations[:ALONE], [row[side]["answer"] for row in told], together)
            agreement(side, net, loaded.tokenizer, conversations[:ALONE])


def speed(name, net, tokenizer, conversations, told, together) -> None:
    prompts = [asked(conversation, tokenizer).prompt for conversation in conversations]
    began = time.perf_counter()
    with at_rest(net):
        given = answers(net, tokenizer, prompts, 64, 1, lambda *_: None)
    alone = (time.perf_counter() - began) / sum(answer.tokens + answer.ended for answer in given)
    same = sum(answer.answer == before for answer, before in zip(given, told, strict=False))
    print(
        f"{name}: {len(told)} at once {together * 1000:.1f} ms a token, one at a time {alone * 1000:.1f}: "
        f"{alone / together:.2f}x; {same} of {len(given)} answers are the same"
    )


def agreement(name, net, tokenizer, conversations) -> None:
    """Perplexity of the first rows, ours and transformers', each row by itself and unpadded."""
    ours = put_to(net, tokenizer, conversations, max_new_tokens=0, at_once=1)
    nats, base = 0.0, getattr(net, "get_base_model", lambda: net)()
    before = base.config._attn_implementation
    base.set_attn_implementation("sdpa")
    for said, conversation in zip(ours, conversations, strict=True):
        sample = asked(conversation, tokenizer).sample
        ids = torch.tensor(sample.tokens.astype(int))[None].to(net.device)
        labels = ids.masked_fill(~torch.tensor(sample.supervised)[None].to(net.device), -100)
        with torch.no_grad(), at_rest(net):
            nats += float(net(input_ids=ids, labels=labels).loss) * said.supervised
    base.set_attn_implementation(before)
    count = sum(said.supervised for said in ours)
    a, b = math.exp(sum(said.nats or 0.0 for said in ours) / count), math.exp(nats / count)
    print(f"{name}: perplexity {a:.5f}, transformers {b:.5f}, {abs(a / b - 1):.1e} apart ({Path(__file__).name})")


if __name__ == "__main__":
    main()
