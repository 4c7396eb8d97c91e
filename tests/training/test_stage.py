import pytest

from hafs.config import build, compose
from hafs.training.stage import Stage, choices, fitted, learning_rate, order


def stage(**fields):
    values = {"samples": None, "epochs": 2, "lr": 1.0, "batch_size": 4, "schedule": "cosine", "warmup_steps": 0}
    return Stage(**({"name": "main", "validation": "end", "preference": None, "rows": "all"} | values | fields))


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


def test_the_warm_up_is_a_share_of_the_stage_unless_it_is_counted():
    assert stage(warmup_steps=None).warmup(7) == 1
    assert stage(warmup_steps=None).warmup(200) == 20
    assert stage(warmup_steps=10).warmup(7) == 7
    assert max(rates(7, warmup_steps=None)) == pytest.approx(1.0)  # the rate arrives


def test_a_stage_says_what_it_does_and_that_it_is_too_small():
    said = stage(validation="epoch", warmup_steps=None).told(9)
    assert "9 samples x 2, 6 steps of 4" in said
    assert "2 x validated" in said
    assert "6 steps are too few to change much" in said
    assert "too few" not in stage().told(900)


def own_data():
    nodes = compose("train", ["dataset.path=x.jsonl"]).stages
    return [build(node) for node in nodes.values()]


@pytest.mark.parametrize(
    ("samples", "parameters", "chosen"),
    [
        (50, 135_000_000, [("main", 9, 1e-3)]),
        (15, 135_000_000, [("main", 10, 1e-3)]),
        (400, 14_000_000_000, [("warmup", 1, 4e-5), ("main", 2, 2e-4), ("cooldown", 1, 2e-5)]),
        (400, 32_000_000_000, [("warmup", 1, 2e-5), ("main", 2, 1e-4), ("cooldown", 1, 1e-5)]),
    ],
)
def test_epochs_and_rates_fit_the_data_and_the_model(samples, parameters, chosen):
    stages, why = fitted(own_data(), samples, parameters)
    assert [(s.name, s.epochs) for s in stages] == [(name, epochs) for name, epochs, _ in chosen]
    assert [s.lr for s in stages] == pytest.approx([rate for _, _, rate in chosen])
    assert any(f"{samples} training samples" in line for line in why)


def test_a_value_that_is_set_is_kept_and_a_sequence_never_becomes_empty():
    typed = compose("train", ["dataset.path=x.jsonl", "stage.main.epochs=3"])
    (main,), _ = fitted([build(typed.stages.main)], 50, None)
    assert (main.epochs, main.lr) == (3, 2e-4)
    (warmup,), said = fitted(own_data()[:1], 50, None)
    assert warmup.name == "warmup"
    assert "left out" not in "".join(said)


def test_what_was_chosen_when_a_run_began_counts_whatever_the_data_become():
    configured = own_data()
    kept, _ = fitted(configured, 50, 135_000_000)
    began = choices(configured, kept)
    assert began == {"warmup": None, "main": {"epochs": 9, "lr": 1e-3}, "cooldown": None}
    again, told = fitted(configured, 400, 14_000_000_000, before=began)
    assert [(s.name, s.epochs, s.lr) for s in again] == [("main", 9, 1e-3)]
    assert told == []
    shorter, _ = fitted(configured, 10, 135_000_000, before=began | {"warmup": {"epochs": 1, "lr": 2e-4}})
    assert [s.name for s in shorter] == ["warmup", "main"]


def test_a_stage_says_what_it_trains_on_before_its_epochs_are_chosen():
    split = object()
    assert [each.rows_of(split) for each in own_data()] == [split] * 3
    assert "'main' trains on all rows" in str(own_data()[1].empty("mine"))
