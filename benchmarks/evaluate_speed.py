"""What an evaluation takes, and what answering many prompts at once is worth.

    python benchmarks/evaluate_speed.py [RUN]

Evaluates a finished run of the shipped sample (its whole test split, 64 new tokens, base and tuned) through the
command's own function, timed as its user waits; then answers some prompts again one at a time, compares the answers
with the evaluation's, and compares seconds per token. Also compares the perplexity of both sides with transformers' own
loss on the same tokens.
"""

import json
import math
import sys
import time
from contextlib import suppress

import torch

from hafs.commands.evaluate import evaluate
from hafs.config import compose
from hafs.core.errors import GateRefused
from hafs.evaluation.rows import answers, asked, put_to
from hafs.evaluation.subject import Loaded, data_of, find_run, held_out, open_run
from hafs.modeling.generation import for_inference
from hafs.runs import evaluation_record

ALONE = 8


def main() -> None:
    began, folder = time.perf_counter(), find_run(*(sys.argv[1:] or [None]))
    with suppress(GateRefused):
        evaluate(compose("evaluate", ["max_new_tokens=64", f"name={folder}"]))
    print(f"\nevaluation: {time.perf_counter() - began:.1f} s, loading included")
    subject, measured = open_run(folder), evaluation_record.read(folder).metrics["seconds_per_token"]
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
    with for_inference(net):
        given = answers(net, tokenizer, prompts, 64, 1, lambda *_: None)
    alone = (time.perf_counter() - began) / sum(answer.tokens + answer.ended for answer in given)
    same = sum(answer.answer == before for answer, before in zip(given, told, strict=False))
    print(
        f"{name}: {len(told)} at once {together * 1000:.1f} ms a token, one at a time {alone * 1000:.1f}: "
        f"{alone / together:.2f}x; {same} of {len(given)} answers are the same"
    )


def agreement(name, net, tokenizer, conversations) -> None:
    """Perplexity of the first rows, ours and transformers' by each of its attentions, row by row and unpadded."""
    ours = put_to(net, tokenizer, conversations, max_new_tokens=0, concurrency=1)
    base, count = getattr(net, "get_base_model", lambda: net)(), sum(said.supervised for said in ours)
    mine, before = math.exp(sum(said.nats or 0.0 for said in ours) / count), base.config._attn_implementation
    for attention in ("eager", "sdpa"):
        base.set_attn_implementation(attention)
        theirs = math.exp(sum(nats_of(net, asked(c, tokenizer).sample) for c in conversations) / count)
        apart = abs(mine / theirs - 1)
        print(f"{name}: perplexity {mine:.5f}, transformers ({attention}) {theirs:.5f}, {apart:.1e} apart")
    base.set_attn_implementation(before)


def nats_of(net, sample) -> float:
    ids, counted = torch.tensor(sample.tokens.astype(int))[None], torch.tensor(sample.supervised)[None]
    labels = ids.masked_fill(~counted, -100).to(net.device)
    with torch.no_grad(), for_inference(net):
        return float(net(input_ids=ids.to(net.device), labels=labels).loss) * int(counted[:, 1:].sum())


if __name__ == "__main__":
    main()
