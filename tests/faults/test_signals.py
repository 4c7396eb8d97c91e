"""Signals that mean stop, at random times."""

import random
import signal
import time

import pytest
from harness import Started, assert_same, events, said, seeded, train

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def test_each_signal_at_a_random_time_saves_at_once_and_the_run_goes_on(rows, undisturbed):
    run, accidents = rows / "outputs/run", seeded(random.randrange(2**32))
    for number in accidents.sample(SIGNALS, len(SIGNALS)):
        process = Started(rows)
        reached = len(events(run, "step"))
        process.until(lambda: len(events(run, "step")) > reached)  # noqa: B023
        time.sleep(accidents.uniform(0, 0.05))
        asked = time.time()
        process.signal(number)
        assert process.ended() == 75, said(rows)[-2000:]
        last = events(run)[-1]
        assert last["event"] == "ended"
        assert number.name in last["error"]
        assert last["exit_code"] == 75
        assert last["time"] - asked < 2.0
        assert f"hafs: stopped by {number.name}; nothing is lost\n-> the same command continues" in said(rows)
    assert train(rows) == 0
    assert_same(run, undisturbed)


def test_a_second_signal_ends_the_process_at_once(rows, undisturbed):
    process = Started(rows, patch=slow_steps)
    process.until(lambda: events(rows / "outputs/run", "stage_started"))
    process.signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.alive()
    process.signal(signal.SIGTERM)
    assert process.ended(5) == -signal.SIGTERM
    assert train(rows) == 0
    assert_same(rows / "outputs/run", undisturbed)


def slow_steps():
    from hafs.module import FineTuning

    real = FineTuning.training_step

    def slow(self, *arguments):
        time.sleep(20)
        return real(self, *arguments)

    FineTuning.training_step = slow


def slow_measurements():
    from hafs.module import FineTuning

    real = FineTuning.validation_step

    def slow(self, *arguments):
        time.sleep(0.3 if self.cursor.stage else 0)
        return real(self, *arguments)

    FineTuning.validation_step = slow


def one_sample_a_batch():
    from hafs import loader

    slow_measurements()
    real = loader.held_out_loader
    loader.held_out_loader = lambda split: loader._loader(split, [[i] for i in range(len(split))] * 20)
    assert real


@pytest.mark.parametrize("at", [6, 11])
def test_a_signal_within_a_measurement_is_obeyed_there_and_the_measurement_is_made_up_for(rows, undisturbed, at):
    process = Started(rows, patch=one_sample_a_batch)
    process.until(lambda: any(e["total"] == at - 1 for e in events(rows / "outputs/run", "step")))
    time.sleep(0.1)
    asked = time.time()
    process.signal(signal.SIGTERM)
    assert process.ended() == 75, said(rows)[-2000:]
    assert time.time() - asked < 2.5
    assert events(rows / "outputs/run", "saved")[-1]["total"] == at
    assert train(rows) == 0
    assert_same(rows / "outputs/run", undisturbed)


def test_a_signal_while_the_base_is_measured_ends_with_75(rows, undisturbed):
    process = Started(rows, failpoints="")
    process.until(lambda: events(rows / "outputs/run", "started"))
    process.signal(signal.SIGHUP)
    assert process.ended() in (75, -signal.SIGHUP), said(rows)
    assert train(rows) == 0
    assert_same(rows / "outputs/run", undisturbed)
