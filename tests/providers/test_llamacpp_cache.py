"""What llama.cpp keeps of earlier requests never answers for another adapter."""

import asyncio
import itertools
import random

import pytest
from local_nets import save_adapter

from hafs.providers import llamacpp_server as servers
from hafs.providers.llamacpp import LlamaCpp

PROMPTS = ["Write one line of assembly.", "Write one line of assembly that loads zero.", "Why? " * 20, "Hi there " * 20]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Two adapters and the base."""
    root = tmp_path_factory.mktemp("adapters")
    return [*(str(save_adapter(root / f"a{i}", seed=i)) for i in range(2)), None]


@pytest.fixture(autouse=True)
def no_server_left():
    yield
    servers.close()


def models(names, *, slots):
    host = LlamaCpp(kind="f32", slots=slots, threads=1, max_tokens=8)
    return {name: host.chat("tiny", context=4096, adapter=name) for name in names}


def fresh(name, prompt):
    """The answer of a server that has seen nothing else."""
    servers.close()
    said = models([name], slots=1)[name].invoke(prompt).text
    servers.close()
    return said


def test_a_prompt_that_another_adapter_answered_is_computed_again(names):
    """On one slot: X with one adapter, Y with the other, X with the other."""
    first, second, _ = names
    ask, x, y = models(names, slots=1), PROMPTS[3], PROMPTS[2]
    ask[second].invoke("start the server that knows both")
    before = ask[first].invoke(x).text
    ask[second].invoke(y)
    said = ask[second].invoke(x).text
    assert said == fresh(second, x) != before


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_two_hundred_requests_in_random_order_answer_as_fresh_servers_do(names, seed):
    """Six at a time on four slots, so that some wait for a slot."""
    expected = {pair: fresh(*pair) for pair in itertools.product(names, PROMPTS)}
    assert len(set(expected.values())) > 2 * len(PROMPTS)  # each adapter says something of its own
    ask, draw = models(names, slots=4), random.Random(seed)
    asked = [draw.choice(list(expected)) for _ in range(200)]
    gate = asyncio.Semaphore(6)

    async def one(name, prompt):
        async with gate:
            return (await ask[name].ainvoke(prompt)).text

    async def all_of_them():
        return await asyncio.gather(*itertools.starmap(one, asked))

    said = asyncio.run(all_of_them())
    wrong = [(pair, text) for pair, text in zip(asked, said, strict=True) if text != expected[pair]]
    assert not wrong
