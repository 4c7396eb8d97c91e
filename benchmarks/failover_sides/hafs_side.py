"""hafs: a chain of two providers with the same second of patience; inside the process also the whole council."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/providers"))

import measure
from chains import remote, scripted

from hafs.providers.failover import failover
from hafs.providers.policy import Policy
from hafs.providers.quota import Ledger, ledger_path

ALL_THREE = "asm lda sta jsr dma; yaze editor emulator palette tile; crash bug debug trace freeze"


def policy(**words):
    usual = {"deadline_seconds": 20.0, "attempt_seconds": 1.0, "first_token_seconds": 1.0, "idle_seconds": 1.0}
    usual |= {"slow_tokens_per_second": 8.0, "calls": 8, "calls_per_account": 2, "on_cut": "continue"}
    usual |= {"backoff_seconds": 30.0, "longest_backoff_seconds": 30.0, "quota_backoff_seconds": 3600.0}
    return Policy(**{**usual, **words})


def chain(first, second, key):
    """Accounts differ by `key`, so that no fault rests for another one; the ledger is on disk as usual."""
    one = remote(first, headers={"x": key})
    two = remote(second, name="second", key="SECOND_KEY")
    brief = {"backoff_seconds": 0.001, "longest_backoff_seconds": 0.001} if key == "many" else {}
    ledger = Ledger(ledger_path().with_name(f"{key}.json"))
    return failover([one, two], "coding", policy=policy(**brief), ledger=ledger)


class Asking:
    """A council and the question that sends it the way to be measured."""

    def __init__(self, words, question):
        from hafs import council

        usual = ["provider=scripted", "router=keyword", "receipts=null"]
        self.model, self.question = council([*usual, *words]), question

    async def ainvoke(self, _):
        """The answer to that question, whatever was asked."""
        return await self.model.ainvoke(self.question)


def inside():
    return {
        "inside": failover([scripted(), scripted()], "coding", policy=policy(), ledger=Ledger(ledger_path())),
        "council, one expert": Asking(["expert=general"], measure.QUESTION),
        "council, three experts and synthesis": Asking(["expert=asm,yaze,debug,general"], ALL_THREE),
    }


def sync(model):
    return model.invoke(measure.QUESTION).text


def stream(model):
    return "".join(chunk.text for chunk in model.stream(measure.QUESTION))


async def asynchronous(model):
    return (await model.ainvoke(measure.QUESTION)).text


async def astream(model):
    return "".join([chunk.text async for chunk in model.astream(measure.QUESTION)])


if __name__ == "__main__":
    import hafs_side

    measure.main(hafs_side)
