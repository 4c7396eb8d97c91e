"""Answers per second of `hafs sample` over the scripted provider, and the provider's own rate at the same concurrency.

    python benchmarks/sampling.py

Both keep 64 requests on their way; the provider waits before each answer, as a host does. hafs adds the failover
chain, the ledger, the journal on disk and the budget.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from langchain_core.messages import HumanMessage

from hafs.chat import Message
from hafs.config import build, compose
from hafs.evaluation.sampling.asking import Asker, SampleRequest
from hafs.evaluation.sampling.budget import Budget
from hafs.evaluation.sampling.journal import AnswerJournal
from hafs.evaluation.sampling.prompts import SamplingPrompt
from hafs.providers.failover import failover


def provider(seconds: float):
    words = ["provider=scripted", f"providers.scripted.host.first_token_seconds={seconds}"]
    return build(compose("ask", words).providers.scripted)


def prompts(count: int) -> list[SamplingPrompt]:
    said = (Message(role="assistant", content="yes"),)
    return [
        SamplingPrompt(
            id=f"{i:016x}",
            conversation=(Message(role="user", content=f"question {i}"),),
            reference=said,
            group=str(i),
            metadata={},
        )
        for i in range(count)
    ]


async def own_rate(seconds: float, count: int, concurrency: int) -> float:
    model = provider(seconds).host.chat("scripted", context=8192, adapter=None)
    left = iter(range(count))

    async def work() -> None:
        for number in left:
            await model.ainvoke([HumanMessage(f"question {number}")])

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return count / (time.perf_counter() - began)


def sampling_rate(seconds: float, count: int, concurrency: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        journal = AnswerJournal(Path(folder) / "answers.jsonl")
        asker = Asker(failover([provider(seconds)], "coding"), journal, Budget(None, None, ()), concurrency=concurrency)
        began = time.perf_counter()
        asker.ask([SampleRequest(prompt, 0) for prompt in prompts(count)])
        rate = count / (time.perf_counter() - began)
        journal.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--count", type=int, default=1280)
    options = parser.parse_args()
    sampling_rate(0.0, 64, options.concurrency)  # imports and the ledger
    for seconds in (0.5, 1.0, 2.0):
        own = asyncio.run(own_rate(seconds, options.count, options.concurrency))
        ours = sampling_rate(seconds, options.count, options.concurrency)
        print(f"{seconds:.1f} s an answer: provider {own:6.1f}/s, hafs sample {ours:6.1f}/s, {ours / own:.2f}x")


if __name__ == "__main__":
    main()
