"""What each side is put through; standard library only, because it runs in three environments.

A side is a module with `chain(first, second, key)`, and with `sync`, `stream`, `asynchronous` and `astream` that return
text.
"""

import asyncio
import functools
import gc
import http.client
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

SYNC, MODES = ("sync", "stream"), ("sync", "stream", "asynchronous", "astream")
LONGEST_SECONDS = 25.0
QUESTION = "Why?"


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def milliseconds(values):
    return {
        "median": round(statistics.median(values) * 1e3, 2),
        "p95": round(percentile(values, 0.95) * 1e3, 2),
        "p99": round(percentile(values, 0.99) * 1e3, 2),
    }


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def calls(spec):
    """What the fault server was asked: name, began, ended."""
    connection = http.client.HTTPConnection("127.0.0.1", spec["port"])
    connection.request("GET", "/calls")
    told = json.loads(connection.getresponse().read())
    connection.close()
    return told


@functools.cache
def one_loop():
    """The loop of all asynchronous requests: ChatOpenAI's cached client breaks over several."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def one(side, model, mode):
    """What became of one request, and its seconds."""
    box = {}

    def ask():
        try:
            call = getattr(side, mode)
            if mode in SYNC:
                box["text"] = call(model)
            else:
                work = asyncio.wait_for(call(model), LONGEST_SECONDS)
                box["text"] = asyncio.run_coroutine_threadsafe(work, one_loop()).result()
        except BaseException as error:
            box["error"] = f"{type(error).__name__}: {error}"[:160]

    began = time.monotonic()
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LONGEST_SECONDS + 1)
    return box, time.monotonic() - began


def faults(side, spec):
    """Every fault in every way of asking: complete, wrong (silently), an error or still waiting; and the calls made."""
    found = {}
    for fault in spec["faults"]:
        for mode in MODES:
            before = len(calls(spec))
            first = spec["refused"] if fault == "refused" else f"{spec['base']}/{fault}/v1"
            box, seconds = one(side, side.chain(first, f"{spec['base']}/ok/v1", fault + mode), mode)
            verdict = "error" if "error" in box else "complete" if box.get("text") == spec["answer"] else "wrong"
            verdict = verdict if box else "waiting"
            made = calls(spec)[before:]
            gap = made[1][1] - made[0][2] if len(made) == 2 and made[0][2] else None
            found[f"{fault} {mode}"] = [verdict, round(seconds, 3), len(made), gap, box.get("error", "")]
    return found


def memory_of_the_dead(side, spec):
    """Ten requests while the first provider asks for thirty seconds of peace: calls it got, seconds of all."""
    model = side.chain(f"{spec['base']}/429_seconds/v1", f"{spec['base']}/ok/v1", "dead")
    before, began = len(calls(spec)), time.monotonic()
    for _ in range(10):
        one(side, model, "sync")
    made = [name for name, *_ in calls(spec)[before:]]
    return {"calls_to_the_resting": made.count("429_seconds"), "seconds": round(time.monotonic() - began, 3)}


def bare(spec, count):
    """The instant provider itself, over one kept connection."""
    address = urlsplit(spec["base"])
    connection = http.client.HTTPConnection(address.hostname, address.port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": QUESTION}]})
    took = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", "/short/v1/chat/completions", body)
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    return took


async def in_turn(ask, count):
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - began)
    return took


async def at_once(ask, workers, each):
    took = []

    async def worker():
        took.extend(await in_turn(ask, each))

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return took, time.perf_counter() - began


async def speed(side, spec):
    """One after the other and 64 at once, over HTTP to an instant provider and over one inside the process."""
    found = {}
    near = f"{spec['base']}/short/v1"
    kinds = {"http": side.chain(near, near, "speed"), **side.inside()}
    for name, model in kinds.items():

        async def ask(model=model):
            return await side.asynchronous(model)

        await in_turn(ask, 50)
        gc.collect()
        gc.freeze()  # as a server does once it has loaded everything; else the collector's pauses are measured
        alone = []
        for _ in range(3):
            alone += await in_turn(ask, 100)
        took, seconds = await at_once(ask, 64, 30)
        found[name] = {
            "alone": milliseconds(alone),
            "64 at once": milliseconds(took),
            "requests_per_second": round(len(took) / seconds),
        }
    found["bare"] = milliseconds(bare(spec, 300))
    return found


async def many(side, spec):
    """10,000 requests of which one in five meets a fault first."""
    model = side.chain(f"{spec['base']}/mix20/v1", f"{spec['base']}/ok/v1", "many")
    answered = failed = 0
    why = {}

    async def ask():
        nonlocal answered, failed
        try:
            text = await side.asynchronous(model)
        except Exception as error:
            text, why[type(error).__name__] = None, str(error)[:300]
        answered += text == spec["answer"]
        failed += text != spec["answer"]

    await at_once(ask, 64, spec["many"] // 640)
    gc.collect()
    memory, open_before = resident_mb(), descriptors()
    _, seconds = await at_once(ask, 64, -(-spec["many"] // 64))
    gc.collect()
    await asyncio.sleep(0.5)
    made = [name for name, *_ in calls(spec)]
    return {
        "answered": answered,
        "failed": failed,
        "why": why,
        "seconds": round(seconds, 1),
        "calls": {name: made.count(name) for name in ("mix20", "ok")},
        "memory_mb": [round(memory, 1), round(resident_mb(), 1)],
        "descriptors": [open_before, descriptors()],
        "tasks_left": len(asyncio.all_tasks()) - 1,
    }


async def cancellations(side, spec):
    """1,000 requests, half of them streams, cancelled at a random moment of their first 60 milliseconds."""
    import random

    dice = random.Random(7)
    model = side.chain(f"{spec['base']}/drip/v1", f"{spec['base']}/ok/v1", "cancel")

    async def cancelled(mode):
        task = asyncio.create_task(getattr(side, mode)(model))
        await asyncio.sleep(dice.random() * 0.06)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def some(count):
        for _ in range(count):
            await cancelled(dice.choice(["asynchronous", "astream"]))

    await asyncio.gather(*(some(10) for _ in range(8)))
    await asyncio.sleep(1)
    gc.collect()
    memory, open_before = resident_mb(), descriptors()
    began = time.monotonic()
    await asyncio.gather(*(some(spec["cancelled"] // 8) for _ in range(8)))
    seconds = time.monotonic() - began
    await asyncio.sleep(2)
    gc.collect()
    healthy = side.chain(f"{spec['base']}/ok/v1", f"{spec['base']}/ok/v1", "after")
    return {
        "seconds": round(seconds, 1),
        "memory_mb": [round(memory, 1), round(resident_mb(), 1)],
        "descriptors": [open_before, descriptors()],
        "tasks_left": len(asyncio.all_tasks()) - 1,
        "answers_afterwards": await side.asynchronous(healthy) == spec["answer"],
    }


def main(side):
    spec = json.loads(sys.argv[1])
    parts = {}
    for part in spec["parts"]:
        if part == "faults":
            parts[part] = faults(side, spec)
            parts["rest"] = memory_of_the_dead(side, spec)
        else:
            parts[part] = asyncio.run({"speed": speed, "many": many, "cancellations": cancellations}[part](side, spec))
    print("RESULT " + json.dumps(parts))
