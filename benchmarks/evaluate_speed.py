"""What an evaluation takes, and what answering many prompts at once is worth.

    python benchmarks/evaluate_speed.py [RUN]

Evaluates a finished run of the shipped sample (its whole test split, 64 new tokens, base and tuned) through the door's
own function, in all the seconds that its user waits; then answers the first 16 prompts again one at a time, and
compares seconds a token. Also holds the perplexity of both sides against transformers' own loss on the same tokens.
"""

import math
import sys
import time
from pathlib import Path

import torch

from hafs.config import compose
from hafs.evaluate import evaluate
from hafs.evaluation.rows import answers, asked, put_to
from hafs.evaluation.subject import Loaded, data_of, find_run, held_out, open_run
from hafs.generation import at_rest

ALONE = 16


def main() -> None:
    began = time.perf_counter()
    evaluate(compose("evaluate", ["max_new_tokens=64", *(f"name={name}" for name in sys.argv[1:])]))
    print(f"\nevaluation: {time.perf_counter() - began:.1f} s, loading included")
    subject = open_run(find_run(*(sys.argv[1:] or [None])))
    loaded = Loaded(subject)
    split = held_out(subject, data_of(subject, loaded.tokenizer))
    conversations = [split.conversation(i) for i in range(len(split))]
    with loaded.base() as net:
        speed("base", net, loaded.tokenizer, conversations)
        agreement("base", net, loaded.tokenizer, conversations)
    with loaded.tuned() as net:
        speed("tuned", net, loaded.tokenizer, conversations)
        agreement("tuned", net, loaded.tokenizer, conversations)


def speed(name, net, tokenizer, conversations) -> None:
    prompts = [asked(conversation, tokenizer).prompt for conversation in conversations]
    found = {}
    for at_once, some in ((16, prompts), (1, prompts[:ALONE])):
        began = time.perf_counter()
        with at_rest(net):
            given = answers(net, tokenizer, some, 64, at_once, lambda *_: None)
        found[at_once] = (time.perf_counter() - began) / sum(answer.tokens for answer in given)
    print(
        f"{name}: 16 at once {found[16] * 1000:.1f} ms a token, one at a time {found[1] * 1000:.1f}: "
        f"{found[1] / found[16]:.2f}x"
    )


def agreement(name, net, tokenizer, conversations) -> None:
    """Perplexity of the first rows, ours and transformers', each row by itself and unpadded."""
    some = conversations[:ALONE]
    ours = put_to(net, tokenizer, some, max_new_tokens=0, at_once=1)
    nats, base = 0.0, getattr(net, "get_base_model", lambda: net)()
    before = base.config._attn_implementation
    base.set_attn_implementation("sdpa")
    for said, conversation in zip(ours, some, strict=True):
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
