"""A signal at every boundary between two lines, of a step and of a whole run: saved, exit 75, bit for bit the same."""

import json
import random
from pathlib import Path

import pytest
from boundaries import STATES, at_every_boundary_of_a_run, at_every_boundary_of_a_step, noted
from harness import assert_same, said, seeded, train


def tormented(rows, patch, step=0, **boundaries):
    """What became of the copies of a run that was not disturbed itself."""
    environ = {"STEP": str(step), "BOUNDARIES": json.dumps(boundaries)}
    words = ("callbacks.checkpoint.every_steps=100",)
    assert train(rows, *words, patch=patch, environ=environ) == 0, said(rows)[-2000:]
    assert "Traceback" not in said(rows)
    return noted()


def assert_saved(copies, step):
    states = dict(noted(STATES))
    wrong = [copy for copy in copies if copy["code"] != 75 or states[copy["saved"][0]] != copy["saved"][1]]
    assert wrong == []
    assert {copy["saved"][0] for copy in copies} <= {step + 1, step + 2}


def test_a_signal_at_some_boundaries_of_a_step_saves_and_ends_with_75(rows):
    first = seeded(random.randrange(2**32)).randrange(60)
    assert_saved(tormented(rows, at_every_boundary_of_a_step, 5, every=60, first=first), 5)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", [2, 5, 10])  # amid an epoch; an epoch's last, then it is measured; the next one's
def test_a_signal_at_every_boundary_of_a_step_saves_and_ends_with_75(rows, step):
    copies = tormented(rows, at_every_boundary_of_a_step, step)
    assert len(copies) > 500
    assert_saved(copies, step)


def test_a_signal_at_some_boundaries_of_a_run_ends_with_75_and_the_run_goes_on(rows, undisturbed):
    accidents = seeded(random.randrange(2**32))
    every_boundary_of_a_run(rows, undisturbed, accidents, every=700, continued=2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_signal_at_every_fourth_boundary_of_a_run_ends_with_75_and_the_run_goes_on(rows, undisturbed):
    accidents = seeded(random.randrange(2**32))
    every_boundary_of_a_run(rows, undisturbed, accidents, every=4, continued=50)


def every_boundary_of_a_run(rows, undisturbed, accidents, *, every, continued):
    copies = tormented(rows, at_every_boundary_of_a_run, every=every, first=accidents.randrange(every))
    assert [copy for copy in copies if copy["code"] != 75] == []
    assert_same(rows / "outputs/run", undisturbed)
    for copy in accidents.sample(copies, continued):
        home = Path(copy["home"])
        assert train(home) == 0, said(home)
        assert_same(home / "outputs/run", undisturbed)
