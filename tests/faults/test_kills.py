"""kill -9, at random and at every named place."""

import ast
import random
import time
from pathlib import Path

import pytest
from harness import Started, assert_acknowledged_loads, assert_same, events, said, seeded, steps, train

import hafs

PLACES = [  # in the order of a run: each is reached by the start that follows the kill at the one before
    *(f"text.{place}@run.json" for place in ("written", "synced", "renamed")),
    "run.recorded",
    "commit.written@00-base",
    "commit.renamed@00-base",
    "step.done@step-00000001",  # before the first save
    *(f"commit.{place}@step-00000001" for place in ("begun", "written", "synced", "listed", "sealed", "renamed")),
    "commit.synced@01-warmup",
    "commit.sealed@01-warmup",
    "stage.closed@warmup",
    "step.done@step-00000002",  # before the stage's first save
    "commit.done@step-00000003",
    "validation.batch@step-00000006",
    "validation.done@step-00000006",
    "commit.sealed@step-00000006",
    "save.done@step-00000006",
    "remove.renamed@step-00000003",  # rotation
    "epoch.done@step-00000011",
    "clear.removed@step-000000",
    "commit.written@step-00000012",
    "stage.cleared@cooldown",
    "commit.listed@adapter",
    "commit.renamed@adapter",
    "commit.aside@adapter",
    "text.synced@summary.json",
]


def places_in_the_code():
    found = set()
    for path in Path(hafs.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint":
                found.add(node.args[0].value)
    return found


def test_every_named_place_has_a_case():
    covered = {place.split("@")[0] for place in PLACES}
    elsewhere = {path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)}
    missing = {place for place in places_in_the_code() - covered if not any(place in text for text in elsewhere)}
    assert not missing
    assert covered <= places_in_the_code()


def test_a_kill_at_every_named_place_one_after_the_other_changes_nothing(rows, undisturbed):
    run = rows / "outputs/run"
    for place in PLACES:
        assert train(rows, failpoints=f"{place}:kill") == -9, f"{place} was not reached:\n{said(rows)[-2000:]}"
        assert_acknowledged_loads(run)
    assert train(rows) == 0, said(rows)
    assert_same(run, undisturbed)
    survived = [line for line in said(rows).splitlines() if line.startswith("survived")][-1]
    assert "interruptions" in survived


def torment(folder, kills, accidents, undisturbed):
    """Kill a run at random times until it was hit so many times; begin another one when it ends before."""
    done = generation = 0
    while done < kills:
        name, generation = f"run{generation}", generation + 1
        run = folder / "outputs" / name
        while True:
            process = Started(folder, f"name={name}")
            if done < kills:
                reached = len(events(run))
                if accidents.random() < 0.6:  # in the midst of steps; else anywhere from the start on
                    process.until(lambda: len(events(run)) > reached + 2)  # noqa: B023
                time.sleep(accidents.uniform(0, 0.4))
                process.process.kill()
            code = process.ended()
            if code == 0:
                break
            assert code == -9, said(folder)[-3000:]
            done += 1
            assert_acknowledged_loads(run)
        assert_same(run, undisturbed)


def test_twelve_kills_at_random_times_change_nothing(rows, undisturbed):
    torment(rows, 12, seeded(random.randrange(2**32)), undisturbed)


@pytest.mark.long
def test_three_hundred_kills_at_random_times_change_nothing(rows, undisturbed):
    torment(rows, 300, seeded(random.randrange(2**32)), undisturbed)


def test_several_kills_within_one_save_interval_change_nothing(rows, undisturbed):
    run, never = rows / "outputs/run", "callbacks.checkpoint.every_steps=1000"
    for place in ("step.done@step-00000004", "step.done@step-00000005", "step.done@step-00000003"):
        assert train(rows, never, failpoints=f"{place}:kill") == -9
    assert len(events(run, "saved")) == 1
    assert train(rows, never) == 0
    assert_same(run, undisturbed)
    assert len(events(run, "step")) == len(steps(run)) + 3 + 4 + 2
    assert "survived   3 interruptions, 0 steps dropped, 0 rollbacks, 0 out-of-memory retries" in said(rows)
