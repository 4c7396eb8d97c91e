"""Routers on the shipped routing sample: accuracy as exact sets, calibration and time, on questions never learned from.

python benchmarks/routing.py                   keyword, embedding and cascade; nothing is fitted on the held-out part
python benchmarks/routing.py --fit             thresholds fitted on the rest first
"""

import argparse
import asyncio
from dataclasses import replace

from hafs.config import build, compose
from hafs.council.assembly import council
from hafs.council.router.routing_report import fit, measure
from hafs.council.router.rows import dealt, read_rows


def router_of(name: str, path: str, held_out: float, seed: int):
    config = compose("ask", [f"router={name}"]).router
    node = config.method.routers.embedding if name == "cascade" else config if name == "embedding" else None
    if node is not None:
        node.method.rows, node.method.held_out, node.method.seed = path, held_out, seed
    if name == "cascade":
        config.method.routers.llm = None  # no model is asked: the default expert answers
    return build(config)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--rows", default="data/routing.jsonl")
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show-wrong", action="store_true")
    options = parser.parse_args()
    panel = council(["provider=scripted"]).panel
    learned, held = dealt(read_rows(options.rows), options.held_out, seed=options.seed)
    families = len({row.group for row in held})
    print(f"{len(learned)} rows to learn from, {len(held)} held out ({families} families, none of them on both sides)")
    print("router      exact  several  brier calib. median ms  slowest  decided by")
    for name in ("keyword", "embedding", "cascade"):
        router = router_of(name, options.rows, options.held_out, options.seed)
        chosen = await fit(router, panel, learned) if options.fit and name == "keyword" else replace(panel)
        await router.route("warm up", chosen)
        told = await measure(router, chosen, held)
        by = ", ".join(f"{who} {count} ({share:.0%})" for who, (count, share) in told.decided_by.items())
        print(
            f"{name:<10} {told.exact:>6.1%} {told.exact_several or 0:>8.1%} {told.brier:>6.3f} "
            f"{told.calibration_error:>6.3f} {told.median_ms:>9.2f} {told.slowest_ms:>8.1f}  {by}"
        )
        if options.show_wrong:
            for question, right, picked in told.wrong:
                print(f"    {right} -> {picked}: {question}")


if __name__ == "__main__":
    asyncio.run(main())
