import math

import pytest

from hafs.training.callbacks.loss_guard import objection

GOOD = [2.0, 1.9, 2.1, 2.0, 1.8, 2.2, 2.0, 1.9, 2.1, 2.0]


def verdict(loss, grad_norm=1.0, good=GOOD):
    return objection(loss, grad_norm, good, factor=10.0, window=10)


def test_ordinary_losses_pass():
    assert verdict(2.5) is None
    assert verdict(20.0) is None  # ten times the median exactly


def test_a_loss_above_ten_times_the_median_is_refused_with_its_figures():
    assert verdict(20.1) == "the loss 20.100 is more than 10 times the median 2.000 of the last 10"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_finite_number_is_refused_in_loss_and_gradients(value):
    assert "loss" in verdict(value)
    assert "gradients" in verdict(2.0, grad_norm=value)


def test_without_enough_good_losses_only_finiteness_counts():
    assert verdict(1e6, good=GOOD[:9]) is None
    assert verdict(math.nan, good=[]) is not None


def test_a_batch_of_other_rows_among_learned_ones_is_no_outlier():
    learned = [0.02] * 10
    assert not objection(0.45, 1.0, learned, factor=10.0, window=10)
    assert objection(1.5, 1.0, learned, factor=10.0, window=10)
