"""Journals of made-up runs, written as training writes them."""

import json
import os
import platform

import psutil

HERE = {"host": platform.node()}


def line(event, time, **facts):
    return json.dumps({"time": time, "event": event} | facts)


def step(total, *, stage="main", time=None, loss=2.0, epoch=0, **facts):
    made = {"stage": stage, "epoch": epoch, "step": total, "total": total, "samples": ["a", "b"], "loss": loss}
    made |= {"accuracy": 0.5, "grad_norm": 0.8, "lr": 1e-3, "tokens": 100, "supervised": 50, "rows": 1}
    made |= {"skipped": None, "seconds": 2.0}
    return line("step", 1000.0 + 2 * total if time is None else time, **(made | facts))


def started(folder, *, time=999.0, **facts):
    me = psutil.Process()
    who = {"pid": os.getpid(), "process_began": me.create_time(), "folder": str(folder.resolve())}
    return line("started", time, **(HERE | who | facts))


def planned(*stages, time=999.1):
    listed = [{"name": n, "epochs": e, "steps": s, "samples": 8, "measurements": 1} for n, s, e in stages]
    return line("planned", time, device="cpu", stages=listed)


def generation(total, prompt, answer, *, time=1000.0):
    return line("generation", time, total=total, prompt=prompt, answer=answer, ended=True)


def write(folder, *lines, end="\n"):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a") as file:
        file.write("\n".join(lines) + end)


def whole_run(folder, *, steps=60, **facts):
    """A run in its second stage: warmup of 10 steps done, main at work."""
    write(
        folder,
        started(folder, **facts),
        planned(("warmup", 10, 1), ("main", 80, 2)),
        generation(0, "Clear the Z flag.", "I cannot."),
        line("stage_finished", 1000.0, stage="base", total=0, kept=True, loss=3.5, perplexity=33.1, accuracy=0.3),
        line("stage_started", 1000.0, stage="warmup", total=0),
        *(step(n, stage="warmup", loss=3.4 - n * 0.02, time=1000 + 2 * n) for n in range(10)),
        line("stage_finished", 1021.0, stage="warmup", total=10, kept=True, loss=3.1, perplexity=22.1, seconds=6.0),
        line("stage_started", 1021.0, stage="main", total=10),
        *(step(n, loss=3.2 - n * 0.02, epoch=n // 40) for n in range(10, steps)),
        line("throughput", 1020.0 + 2 * steps, total=steps - 1, tokens_per_second=50.0, resident_bytes=2e9,
             memory_bytes=16e9, gpu_reserved_bytes=9e9, gpu_bytes=16e9, gpu_percent=71),
        line("saved", 1020.0 + 2 * steps, total=steps, checkpoint=f"step-{steps:08d}"),
        generation(steps, "Clear the Z flag.", "lda #1", time=1020.0 + 2 * steps),
        line("skipped", 1020.0 + 2 * steps, total=steps - 1, why="the loss is nan", samples=[]),
    )  # fmt: skip
    return folder
