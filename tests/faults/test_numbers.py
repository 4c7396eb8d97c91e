"""Random numbers and order are functions of the place in a run, each place its own."""

import pytest
import torch
from harness import events, steps, train

from hafs.training.stage import key


def note_masks():
    """Writes down where dropout's random numbers start in each pass."""
    from pathlib import Path

    real = torch.manual_seed

    def noting(seed):
        with Path("seeds").open("a") as file:
            file.write(f"{seed}\n")
        return real(seed)

    torch.manual_seed = noting


def test_every_pass_has_random_numbers_of_its_own_and_every_epoch_an_order_of_its_own(rows):
    assert train(rows, patch=note_masks) == 0
    seeds = [int(line) for line in (rows / "seeds").read_text().split()]
    expected = {key(7, "main", epoch, 5 * epoch + i, 0, 0) for epoch in range(2) for i in range(5)}
    assert expected <= set(seeds)
    main = [step for step in steps(rows / "outputs/run") if step[0] == "main"]
    first, second = ([i for step in main if step[1] == epoch for i in step[3]] for epoch in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second
    assert len(events(rows / "outputs/run", "step")) == 12


@pytest.mark.parametrize("parts", [(7, "main", 0, 1), (7, "main", 1, 0), (8, "main", 0, 0)])
def test_each_part_of_a_place_counts(parts):
    assert key(*parts) != key(7, "main", 0, 0)
