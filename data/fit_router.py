"""Fit the embedding router for the shipped experts and keep its weights in data/router/.

python data/fit_router.py            # writes what is missing, removes what nothing asks for
python data/fit_router.py --check    # exit status 1 when the shipped files are of other questions
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from hafs import council
from hafs.council.router.classifier import name_of
from hafs.council.router.encoder import Encoder

FOLDER = Path(__file__).resolve().parent / "router"
EXPERTS = ("asm", "debug", "general", "yaze")
PANELS = [",".join(some) for size in (4, 3, 2) for some in combinations(EXPERTS, size)]
"""The shipped panel, and what people make of it by `expert=`; another one is fitted when it is first asked."""


@dataclass(frozen=True, kw_only=True)
class Remembering(Encoder):
    """Reads each question once, whatever the panel."""

    known: dict[str, np.ndarray] = field(default_factory=dict)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """As `Encoder.vectors`."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known.update(zip(new, super().vectors(new), strict=True) if new else ())
        return np.stack([self.known[text] for text in texts])


def main() -> int:
    parser = argparse.ArgumentParser(description="Fit the embedding router for the shipped experts.")
    parser.add_argument("--check", action="store_true", help="compare names instead of fitting")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    wanted = {}
    for panel in PANELS:
        made = council([f"expert={panel}", "router=embedding", "provider=scripted"])
        experts, _ = made.router.method.known(made.panel)
        wanted[FOLDER / name_of(made.router.method.made_of(experts))] = (panel, made.router.method, (experts,))
    recognizer = council(["router=embedding", "provider=scripted"]).router.method.recognizer
    wanted[FOLDER / name_of(recognizer.made_of())] = ("follow-ups", recognizer, ())
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
    reading = None
    for path in missing:
        panel, fitted, experts = wanted[path]
        reading = reading or Remembering(**vars(fitted.encoder))
        np.save(path, replace(fitted, encoder=reading).fitted(*experts).astype(np.float32))
        print(f"{panel}: {path.name}, {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
