"""Six questions to the council of the three sample experts: scores, who answered, the answer and the time.

python benchmarks/demo_council.py        after: hafs train experiment=rom_hacking_sample
"""

import sys
import time
from pathlib import Path

from hafs import council
from hafs.core.errors import HafsError

RUNS = Path("multirun/rom-hacking-sample")
EXPERTS = {"asm": "alttp_asm", "yaze": "yaze_tools", "debug": "debug"}
QUESTIONS = (
    "Write a routine that clears 32 bytes at $7E2000.",
    "Is there a moblin in room 0x039?",
    "The game freezes with a BRK at $008123 after my last change. What could it be?",
    "This crashes on return, please correct the code: pha, lda $7E2000, rts.",
    "Add a sprite to room 12 and write the code that makes it move twice as fast.",
    "Good morning! What can you help me with?",
)
WIDEST = 100


def words() -> list[str]:
    chosen = ["provider=local", "expert=asm,yaze,debug,general", "router.method.routers.llm=null"]
    chosen += [f"expert.{name}.adapter={RUNS / dataset / 'adapter'}" for name, dataset in EXPERTS.items()]
    chosen += [f"expert.{name}.system=null" for name in EXPERTS]  # most rows of the samples have none
    return [*chosen, *(f"expert.{name}.max_tokens=96" for name in (*EXPERTS, "general")), "synthesizer=concat"]


def main() -> None:
    began = time.perf_counter()
    chain = council(words())
    for number, question in enumerate(QUESTIONS, 1):
        asked = time.perf_counter()
        answer = chain.invoke(question)
        routing = answer.response_metadata["receipt"]["routing"]
        scores = "  ".join(f"{name} {score:.2f}" for name, score in routing["scores"].items())
        print(f"\n{number}. {question}\n   {scores}  ({routing['decided_by']})")
        print(f"   {' + '.join(routing['picked'])} answered in {time.perf_counter() - asked:.1f} s:")
        for line in answer.text.strip().splitlines():
            print(f"   | {line[:WIDEST]}")
    print(f"\nsix questions in {time.perf_counter() - began:.0f} s, loading included")


if __name__ == "__main__":
    try:
        main()
    except HafsError as error:
        sys.exit(f"hafs: {error}")
