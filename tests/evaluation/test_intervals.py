"""Intervals: they hold the truth as often as they claim."""

import numpy as np
import pytest

from hafs.evaluation.intervals import Sides, compare, levels_of


def mean(amount, weight):
    return amount / weight


def perplexity(amount, weight):
    return np.exp(amount / weight)


def ragged_losses(generator, rows):
    """Nats of rows of unlike length that are hard or easy for both models alike."""
    tokens = generator.integers(10, 200, rows).astype(float)
    hard = generator.normal(0, 0.5, rows)
    base, tuned = (tokens * np.exp(level + hard + generator.normal(0, 0.2, rows)) for level in (0.9, 0.3))
    return Sides(base, tokens, tuned, tokens)


LOSS = [np.exp(level + (0.25 + 0.04) / 2) for level in (0.9, 0.3)]


def shares(generator, rows):
    """Right or wrong, and whoever is right before tends to stay right."""
    before = generator.random(rows) < 0.2
    after = before | (generator.random(rows) < 0.3)
    ones = np.ones(rows)
    return Sides(before * 1.0, ones, after * 1.0, ones)


@pytest.mark.parametrize(
    ("draw", "value", "truth"),
    [(ragged_losses, perplexity, np.exp(LOSS[1]) - np.exp(LOSS[0])), (shares, mean, 0.8 * 0.3)],
    ids=["perplexity", "share"],
)
def test_an_interval_holds_the_true_difference_in_95_of_100_cases(draw, value, truth):
    generator, sims, held = np.random.default_rng(5), 300, 0
    for i in range(sims):
        interval = compare(draw(generator, 80), value, draws=400, seed=i).difference
        held += interval.low <= truth <= interval.high
    assert 0.915 <= held / sims <= 0.98


def test_pairs_make_the_interval_narrow():
    sides = ragged_losses(np.random.default_rng(0), 80)
    shuffled = np.random.default_rng(1).permutation(80)
    unpaired = Sides(sides.base, sides.base_weight, sides.tuned[shuffled], sides.tuned_weight[shuffled])
    narrow, wide = (compare(s, perplexity, draws=500, seed=0).difference for s in (sides, unpaired))
    assert narrow.figure == pytest.approx(wide.figure)
    assert narrow.high - narrow.low < wide.high - wide.low


def test_few_rows_get_wider_levels_and_very_few_no_interval():
    plain = (0.025, 0.975)
    assert levels_of(10)[0] < levels_of(100)[0] < plain[0]
    assert levels_of(10_000) == pytest.approx(plain, abs=1e-4)
    few = np.ones(29)
    compared = compare(Sides(few, few, few * 2, few), mean, draws=100, seed=0)
    assert compared.difference == (1.0, None, None)


def prompts(generator, groups, alike):
    """Right or wrong, the rows of one prompt nearly always together."""
    gains = np.repeat(generator.normal(0.1, 0.3, groups), alike) + generator.normal(0, 0.05, groups * alike)
    ones = np.ones(groups * alike)
    return Sides(ones, ones, 1 + gains, ones), np.repeat(np.arange(groups), alike)


def test_prompts_are_drawn_not_rows_so_that_repeated_prompts_add_no_certainty():
    generator, sims, held = np.random.default_rng(6), 200, {"prompts": 0, "rows": 0}
    for i in range(sims):
        sides, groups_N = prompts(generator, 12, 11)
        for what, drawn in (("prompts", groups_N), ("rows", None)):
            interval = compare(sides, mean, draws=400, seed=i, groups_N=drawn).difference
            held[what] += interval.low <= 0.1 <= interval.high
    assert 0.915 <= held["prompts"] / sims <= 0.985
    assert held["rows"] / sims < 0.7  # what drawing rows would claim


def test_many_rows_of_few_prompts_have_no_interval():
    for groups, alike, sure in ((1, 66, False), (4, 30, False), (5, 6, True), (5, 5, False)):
        sides, groups_N = prompts(np.random.default_rng(0), groups, alike)
        compared = compare(sides, mean, draws=100, seed=0, groups_N=groups_N)
        assert (compared.difference.low is not None) == sure
        assert (compared.ratio.low is not None) == sure


def test_each_row_its_own_group_is_the_plain_bootstrap():
    sides = shares(np.random.default_rng(2), 50)
    assert compare(sides, mean, draws=300, seed=3) == compare(sides, mean, draws=300, seed=3, groups_N=np.arange(50))


def test_a_base_of_zero_has_a_difference_and_no_ratio():
    nothing, ones = np.zeros(20), np.ones(20)
    compared = compare(Sides(nothing, ones, ones, ones), mean, draws=100, seed=0)
    assert compared.difference.figure == 1.0
    assert compared.ratio is None


def test_the_same_seed_gives_the_same_interval():
    sides = shares(np.random.default_rng(2), 50)
    assert compare(sides, mean, draws=300, seed=3) == compare(sides, mean, draws=300, seed=3)
