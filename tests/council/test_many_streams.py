"""A thousand streams at once for a minute, through two processes of `hafs serve`."""

import asyncio
import os
import subprocess
import sys
import time

import aiohttp
import psutil
import pytest

STREAMS, SECONDS = 1000, 60
BODY = {"model": "hafs-council", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}


async def streamed(address, until, counts):
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def keep_asking():
            while time.monotonic() < until:
                try:
                    async with session.post(f"{address}/v1/chat/completions", json=BODY) as response:
                        text = await response.text()
                    counts[response.status == 200 and text.endswith("data: [DONE]\n\n")] += 1
                except Exception:
                    counts[False] += 1

        await asyncio.gather(*(keep_asking() for _ in range(STREAMS)))


def workers_of(process):
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


def held(workers):
    return [worker.memory_info().rss / 2**20 for worker in workers], [worker.num_fds() for worker in workers]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_streams_for_a_minute_leave_no_error_memory_or_descriptor(tmp_path):
    words = [
        "--workers", "2", "provider=scripted", "router=keyword", "port=0", "receipts=null", "max_requests=2000",
        "provider.scripted.host.token_seconds=0.2",
    ]  # fmt: skip
    env = {**os.environ, "HAFS_STATE": str(tmp_path / "state")}
    with subprocess.Popen(
        [sys.executable, "-m", "hafs", "serve", *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().split()[2].removesuffix("/v1")
            workers, counts = workers_of(psutil.Process(process.pid)), {True: 0, False: 0}
            asyncio.run(streamed(address, time.monotonic() + 15, counts))  # until everything is loaded and grown
            time.sleep(8)
            memory, descriptors = held(workers)
            asyncio.run(streamed(address, time.monotonic() + SECONDS, counts))
            time.sleep(8)  # idle connections are closed after five seconds
            after, left = held(workers)
        finally:
            process.terminate()
    print(f"{counts[True]} streams, memory {memory} -> {after} MiB, descriptors {descriptors} -> {left}")
    assert len(workers) == 2
    assert counts[False] == 0
    assert counts[True] >= STREAMS
    assert all(b <= a * 1.1 + 5 for a, b in zip(memory, after, strict=True))
    assert all(b <= a + 2 for a, b in zip(descriptors, left, strict=True))
