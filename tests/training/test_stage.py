import pytest

from hafs.training.stage import Stage, learning_rate, order


def stage(**fields):
    values = {"samples": None, "epochs": 2, "lr": 1.0, "batch_size": 4, "schedule": "cosine", "warmup_steps": 0}
    return Stage(**({"name": "main", "validation": "end", "preference": None} | values | fields))


def rates(steps, **fields):
    return [learning_rate(stage(**fields), step=i, steps=steps) for i in range(steps)]


def test_the_rate_rises_in_the_warm_up_and_then_follows_its_shape():
    assert rates(6, schedule="constant", warmup_steps=3) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert rates(4, schedule="linear") == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(4, schedule="cosine") == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_every_rate_is_above_zero_even_when_the_warm_up_is_longer_than_the_stage(schedule):
    assert all(0 < rate <= 1 for rate in rates(3, schedule=schedule, warmup_steps=10))


def test_epochs_see_the_same_samples_in_another_order():
    first, second = (order(stage(samples=10), available=30, seed=1, epoch=e) for e in (0, 1))
    assert len(set(first)) == 10
    assert sorted(first) == sorted(second)
    assert first != second


def test_the_order_is_a_function_of_seed_stage_and_epoch_alone():
    assert order(stage(), available=9, seed=1, epoch=0) == order(stage(lr=0.5), available=9, seed=1, epoch=0)
    assert order(stage(), available=9, seed=1, epoch=0) != order(stage(), available=9, seed=2, epoch=0)
    assert order(stage(), available=9, seed=1, epoch=0) != order(stage(name="cooldown"), available=9, seed=1, epoch=0)


def test_the_last_step_of_an_epoch_may_be_short():
    assert stage(samples=10).steps_per_epoch(30) == 3
    assert stage(samples=10).steps(30) == 6
    assert stage(samples=100).drawn(30) == 30
