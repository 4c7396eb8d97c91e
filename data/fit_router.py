"""Fit the embedding router for the shipped experts and keep its weights in data/router/.

python data/fit_router.py            # writes what is missing, removes what nothing asks for
python data/fit_router.py --check    # exit status 1 when the shipped files are of other questions
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from hafs import council
from hafs.council.router.classifier import name_of

FOLDER = Path(__file__).resolve().parent / "router"
PANELS = ("asm,debug,general,yaze", "asm,debug,yaze", "asm,debug", "asm,yaze", "debug,yaze")
"""The shipped panel, and what people make of it by `expert=`; another one is fitted when it is first asked."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit the embedding router for the shipped experts.")
    parser.add_argument("--check", action="store_true", help="compare names instead of fitting")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    wanted = {}
    for panel in PANELS:
        made = council([f"expert={panel}", "router=embedding", "provider=scripted"])
        experts, _ = made.router.method.known(made.panel)
        wanted[FOLDER / name_of(made.router.method.made_of(experts))] = (panel, made.router.method, experts)
    old = set(FOLDER.glob("*.npy")) - set(wanted)
    missing = [path for path in wanted if not path.exists()]
    if check:
        print(
            "\n".join(
                f"{path.name}: {wanted[path][0] if path in wanted else 'of other questions'}"
                for path in [*missing, *old]
            )
        )
        return int(bool(missing or old))
    for path in old:
        path.unlink()
    for path in missing:
        panel, router, experts = wanted[path]
        np.save(path, router.fitted(experts).astype(np.float32))
        print(f"{panel}: {path.name}, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
