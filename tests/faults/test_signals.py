"""Signals that mean stop, at random times."""

import random
import signal
import time

import pytest
from harness import Started, assert_same, events, said, seeded, train

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def test_each_signal_at_a_random_time_saves_immediately_and_the_run_continues(rows, undisturbed):
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
        assert events(run, "saved")[-1]["total"] == events(run, "step")[-1]["total"] + 1
        assert f"hafs: stopped by {number.name}; nothing is lost\n-> the same command continues" in said(rows)
    assert train(rows) == 0
    assert_same(run, undisturbed)


def test_a_second_signal_ends_the_process_immediately(rows, undisturbed):
    process = Started(rows, patch=slow_steps)
    process.until(lambda: events(rows / "outputs/run", "stage_started"))
    process.signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.alive()
    process.signal(signal.SIGTERM)
    assert process.ended(5) == -signal.SIGTERM
    assert train(rows) == 0
    assert_same(rows / "outputs/run", undisturbed)


def hangs_up_on_nobody():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    slow = time.sleep

    from hafs.training.module import FineTuningModule

    real = FineTuningModule.training_step

    def step(self, *arguments):
        slow(0.05)
        return real(self, *arguments)

    FineTuningModule.training_step = step


def test_who_was_told_to_ignore_a_signal_ignores_it(rows, undisturbed):
    process = Started(rows, patch=hangs_up_on_nobody)
    process.until(lambda: events(rows / "outputs/run", "step"))
    process.signal(signal.SIGHUP)
    assert process.ended() == 0, said(rows)[-2000:]
    assert_same(rows / "outputs/run", undisturbed)
    assert not events(rows / "outputs/run", "interrupted")


def slow_steps():
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.training_step

    def slow(self, *arguments):
        time.sleep(20)
        return real(self, *arguments)

    FineTuningModule.training_step = slow


def a_slow_measurement():
    """After the step that AT names, of many batches of one sample."""
    import os

    from hafs.training import loader
    from hafs.training.module import FineTuningModule

    real = FineTuningModule.validation_step

    def slow(self, *arguments):
        time.sleep(0.3 if self.cursor.total == int(os.environ["AT"]) else 0)
        return real(self, *arguments)

    FineTuningModule.validation_step = slow
    loader.held_out_loader = lambda split, pairs: loader._loader(split, [[i] for i in range(len(split))] * 20)


@pytest.mark.parametrize("at", [6, 11])
def test_a_signal_within_a_measurement_is_obeyed_there_and_the_measurement_is_made_up_for(rows, undisturbed, at):
    process = Started(rows, patch=a_slow_measurement, environ={"AT": str(at)})
    process.until(lambda: any(e["total"] == at - 1 for e in events(rows / "outputs/run", "step")))
    time.sleep(0.1)
    asked = time.time()
    process.signal(signal.SIGTERM)
    assert process.ended() == 75, said(rows)[-2000:]
    assert time.time() - asked < 2.5
    run = rows / "outputs/run"
    assert events(run, "saved")[-1]["total"] == at
    assert train(rows) == 0
    assert_same(run, undisturbed)
    assert at in [event["total"] for event in events(run, "held_out")]


def wait_within(owner, name, swallow=False, instead=None):
    """Lets a function wait for its signal; it may swallow the error, or have another one instead."""
    from pathlib import Path

    real = getattr(owner, name)

    def waiting(*arguments, **options):
        Path("here").touch()
        try:
            time.sleep(20)
        except BaseException:
            if instead:
                raise instead from None
            if not swallow:
                raise
        return real(*arguments, **options)

    setattr(owner, name, waiting)


def while_the_config_is_checked():
    from hafs.config import hydra_command

    wait_within(hydra_command, "check")


def within_an_import_that_is_tried():
    from hafs.config import hydra_command

    wait_within(hydra_command, "check", swallow=True)


def where_it_breaks_something_else():
    from hafs.config import hydra_command

    wait_within(hydra_command, "check", instead=AttributeError("'NoneType' object has no attribute 'x'"))


def while_data_are_prepared():
    from hafs.training import session

    wait_within(session, "prepare")


def while_weights_are_loaded():
    from hafs.modeling.base_model import Model

    wait_within(Model, "load")


def while_the_base_is_measured():
    from hafs.training.module import FineTuningModule

    wait_within(FineTuningModule, "on_validation_epoch_start")


BEFORE_THE_FIRST_STEP = (
    while_the_config_is_checked,
    within_an_import_that_is_tried,
    where_it_breaks_something_else,
    while_data_are_prepared,
    while_weights_are_loaded,
    while_the_base_is_measured,
)


def test_a_signal_before_the_first_step_ends_in_good_order_wherever_it_comes(rows, undisturbed):
    for number, patch in enumerate(BEFORE_THE_FIRST_STEP):
        process = Started(rows, patch=patch)
        process.until((rows / "here").exists)
        process.signal(SIGNALS[number % len(SIGNALS)])
        assert process.ended(10) == 75, (patch, said(rows)[-2000:])
        (rows / "here").unlink()
        assert (rows / "outputs").exists() == (number > 2)  # nothing is begun before the config is checked
    assert said(rows).count("; nothing is lost\n-> the same command continues") == len(BEFORE_THE_FIRST_STEP)
    assert "Traceback" not in said(rows)
    assert train(rows) == 0
    assert_same(rows / "outputs/run", undisturbed)


def while_a_checkpoint_is_read():
    import torch

    wait_within(torch, "load")


def test_a_signal_while_a_checkpoint_is_read_does_not_make_it_damaged(rows, undisturbed):
    run = rows / "outputs/run"
    assert train(rows, failpoints="step.done@step-00000008:kill") == -9
    process = Started(rows, patch=while_a_checkpoint_is_read)
    process.until((rows / "here").exists)
    process.signal(signal.SIGTERM)
    assert process.ended(10) == 75, said(rows)[-2000:]
    assert not list(run.glob("checkpoints/damaged-*"))
    assert train(rows) == 0, said(rows)[-2000:]
    assert_same(run, undisturbed)
    assert events(run, "resumed")[-1]["checkpoint"] == "step-00000006"


def signal_at_any_moment(folder, times, accidents, undisturbed):
    """Stop a run at random moments from its first to its last, so often; begin another one when it ends before."""
    done = generation = 0
    while done < times:
        name, generation = f"run{generation}", generation + 1
        code = None
        while code != 0:
            before, process = len(said(folder)), Started(folder, f"name={name}")
            number = accidents.choice(SIGNALS)
            time.sleep(accidents.uniform(0, 2))
            if done < times and process.alive():
                process.signal(number)
                done += 1
            code = process.ended()
            told = said(folder)[before:]
            early = -number if number != signal.SIGINT else 1  # the process had not reached the command yet
            assert code in (0, 75) or (code == early and not told), told
            assert "Traceback" not in told, told
        assert_same(folder / "outputs" / name, undisturbed)


def test_six_signals_at_any_moment_change_nothing(rows, undisturbed):
    signal_at_any_moment(rows, 6, seeded(random.randrange(2**32)), undisturbed)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_signals_at_any_moment_change_nothing(rows, undisturbed):
    signal_at_any_moment(rows, 100, seeded(random.randrange(2**32)), undisturbed)
