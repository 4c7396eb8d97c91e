"""Requests take turns before a server that serves one adapter at a time; no limit on a host counts the wait."""

import asyncio
import time

import pytest
from chains import chain, outcomes, provider, scripted
from local_nets import host, save_adapter

from hafs.providers import llamacpp_server as servers
from hafs.providers import local
from hafs.providers.adapter_turns import AdapterTurns
from hafs.providers.deadlines import now, within
from hafs.providers.llamacpp import LlamaCpp
from hafs.providers.provider_error import ProviderError
from hafs.providers.queue_wait import QueueWait, announced_wait

SHORT = 5
TAKES_LONG = {"llamacpp": 800, "local": 600}
"""Tokens of an answer that others wait for."""


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    servers.close()
    local.close()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return [str(save_adapter(root / f"a{i}", seed=i)) for i in range(2)]


def order_of(asked, *, places):
    """The order in which requests begin, where each holds its place for three passes of the loop."""
    began, most = [], 0

    async def one(turns, group, number):
        nonlocal most
        async with turns.turn(group, QueueWait()):
            began.append(f"{group}{number}")
            most = max(most, turns._running)
            for _ in range(3):
                await asyncio.sleep(0)

    async def together():
        turns = AdapterTurns(places)
        await asyncio.gather(*(one(turns, group, number) for number, group in enumerate(asked)))
        return turns

    turns = asyncio.run(together())
    assert (turns._running, turns._waiting) == (0, {})
    assert most <= places
    return " ".join(began)


def test_groups_take_turns_and_a_late_request_does_not_pass_another_group():
    assert order_of("aab", places=4) == "a0 a1 b2"
    assert order_of("aaaaab", places=2) == "a0 a1 b5 a2 a3 a4"
    assert order_of("abcabc", places=4) == "a0 b1 b4 c2 c5 a3"


def test_a_request_that_is_given_up_leaves_its_place_and_its_ticket():
    async def given_up():
        turns, waits = AdapterTurns(1), [QueueWait() for _ in range(3)]

        async def hold(group, wait):
            async with turns.turn(group, wait):
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(hold(group, wait)) for group, wait in zip("aba", waits, strict=True)]
        await asyncio.sleep(0.01)
        assert [wait.waiting for wait in waits] == [False, True, True]
        tasks[1].cancel()
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert turns._running == 1 and not any(wait.waiting for wait in waits)
        tasks[2].cancel()
        await asyncio.sleep(0.01)
        return turns

    turns = asyncio.run(given_up())
    assert (turns._running, turns._waiting) == (0, {})


@pytest.mark.parametrize(("queue", "work", "passes"), [(0.3, 0.02, True), (0.0, 0.3, False), (0.3, 0.3, False)])
def test_a_limit_counts_work_and_not_the_queue(queue, work, passes):
    async def asked():
        wait = announced_wait()
        wait.begin()
        await asyncio.sleep(queue)
        wait.end()
        await asyncio.sleep(work)

    async def limited():
        began, wait = now(), QueueWait()
        try:
            await within(asked(), now() + 0.1, "nothing", wait=wait)
        except ProviderError as error:
            assert error.kind == "timeout" and ("in the queue" in error.said) == bool(queue >= 0.1)
            assert now() - began < queue + 0.25
            return False
        return wait.seconds >= queue

    assert asyncio.run(limited()) is passes


def test_the_request_s_own_deadline_ends_the_wait_too():
    async def asked():
        announced_wait().begin()
        await asyncio.sleep(60)

    async def limited():
        with pytest.raises(ProviderError, match=r"nothing in 0\.0 s, after 0\.[12] s in the queue"):
            await within(asked(), now() + 9, "nothing", wait=QueueWait(), latest=now() + 0.1)

    asyncio.run(limited())


def hosts():
    llama = LlamaCpp(kind="f32", slots=4, threads=1, max_tokens=8)
    return {"llamacpp": llama, "local": host(rows=1)}


@pytest.mark.parametrize(("name", "streamed"), [("llamacpp", True), ("llamacpp", False), ("local", True)])
def test_an_expert_that_waits_for_another_is_not_left_for_the_next_provider(adapters, name, streamed):
    """The first asks for many tokens, the second comes a moment later and may take a third of that time."""
    parameters = ["temperature", "max_tokens"]
    own = provider(hosts()[name], name=name, models=dict.fromkeys(["fast", "coding", "reasoning", "cheap", "fallback"],
        "tiny"), parameters=parameters)  # fmt: skip
    many = TAKES_LONG[name]
    times = {"deadline_seconds": 60.0, "attempt_seconds": 60.0, "idle_seconds": 60.0}

    def expert(adapter, first, tokens):
        words = {**times, "first_token_seconds": first, "max_tokens": tokens}
        if not streamed:
            words["attempt_seconds"] = first
        return chain(own, scripted(name="paid"), adapter=adapter, **words)

    async def said(model):
        if not streamed:
            return await model.ainvoke("Hi")
        chunks = [chunk async for chunk in model.astream("Hi")]
        return sum(chunks[1:], chunks[0])

    async def both(first):
        one = asyncio.create_task(said(expert(adapters[0], 60.0, many)))
        await asyncio.sleep(0.1)
        two = await said(expert(adapters[1], first, SHORT))
        return await one, two

    for adapter, tokens in zip(adapters, (many, SHORT), strict=True):  # the server knows both, and all is loaded
        asyncio.run(said(expert(adapter, 60.0, tokens)))
    alone = time.monotonic()
    asyncio.run(said(expert(adapters[0], 60.0, many)))
    alone = time.monotonic() - alone
    one, two = asyncio.run(both(max(0.3, alone / 3)))
    assert outcomes(one) == outcomes(two) == ["answered"]
    attempt = two.response_metadata["attempts"][0]
    assert attempt["provider"] == name
    first = one.response_metadata["attempts"][0].get(
        "queued_seconds", 0
    )  # a moment, while the engine ends the one before
    assert attempt["queued_seconds"] > first


def test_an_adapter_gets_its_turn_while_another_s_requests_keep_coming(adapters):
    """Twelve requests of one adapter on two slots, then one of another, which waits for the running ones only."""
    llama = LlamaCpp(kind="f32", slots=2, threads=1, max_tokens=100)
    models = [llama.chat("tiny", context=4096, adapter=adapter) for adapter in adapters]
    models[1].invoke("start the server that knows both")
    models[0].invoke("start the server that knows both")
    ended = []

    async def one(model, name):
        await model.ainvoke("Hi")
        ended.append(name)

    async def together():
        many = [asyncio.create_task(one(models[0], f"many {i}")) for i in range(12)]
        await asyncio.sleep(0.05)
        await asyncio.gather(*many, one(models[1], "late"))

    asyncio.run(together())
    assert len(ended) == 13
    assert ended.index("late") < 8
