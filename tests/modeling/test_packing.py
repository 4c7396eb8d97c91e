import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hafs.data.samples import Sample
from hafs.modeling.borders import Borders
from hafs.modeling.packing import pack, packed_sequence, supervised_tokens


def sample(*tokens, supervised=()):
    mask = np.zeros(len(tokens), dtype=bool)
    mask[list(supervised)] = True
    return Sample("x", np.array(tokens, dtype=np.int32), mask)


@pytest.mark.parametrize("capacity", [1, 7, 10, 64, 1000])
def test_every_sample_is_in_exactly_one_sequence_and_no_sequence_of_several_is_too_long(capacity):
    lengths = np.random.default_rng(0).integers(1, 60, size=40).tolist()
    rows = pack(lengths, capacity)
    assert sorted(i for r in rows for i in r) == list(range(40))
    assert all(len(r) == 1 or sum(lengths[i] for i in r) <= capacity for r in rows)


def test_packed_sequences_are_about_equally_full():
    rows = pack([30] * 8, 128)
    assert [len(r) for r in rows] == [4, 4]
    assert len(pack([100] * 9, 1000)) == 1


def test_a_packed_sequence_restarts_positions_and_predicts_nothing_across_a_border():
    packed = packed_sequence([sample(1, 2, 3, supervised=[0, 2]), sample(4, 5, supervised=[0, 1])])
    assert packed.tokens_T.tolist() == [1, 2, 3, 4, 5]
    assert packed.positions_T.tolist() == [0, 1, 2, 0, 1]
    assert packed.borders == [0, 3, 5]
    assert packed.predicts_N.tolist() == [1, 3]
    assert packed.target_N.tolist() == [3, 5]


def test_supervised_tokens_are_those_that_packed_sequences_predict():
    samples = [sample(1, 2, 3, supervised=[0, 2]), sample(4, 5, supervised=[0, 1])]
    assert supervised_tokens(samples) == len(packed_sequence(samples).target_N) == 2


class Copies(TorchDispatchMode):
    """Counts copies from one device to another."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default and "device" in (kwargs or {})
        return func(*args, **(kwargs or {}))


def test_a_packed_sequence_moves_in_one_copy_with_the_borders_that_all_layers_use():
    packed = packed_sequence([sample(1, 2, 3, supervised=[0, 2]), sample(4, 5, supervised=[0, 1])])
    with Copies() as copies:
        moved = packed.to(torch.device("meta"))
        offsets = [moved.borders.on(torch.device("meta")) for _ in range(48)]
    assert copies.count == 1
    assert len({id(each) for each in offsets}) == 1
    assert offsets[0].dtype == torch.int32
    for name in ("tokens_T", "positions_T", "predicts_N", "target_N"):
        ours, theirs = getattr(moved, name), getattr(packed, name)
        assert (ours.shape, ours.dtype, ours.device.type) == (theirs.shape, theirs.dtype, "meta")
    assert list(moved.borders) == [0, 3, 5]
    assert moved.borders.longest == 3
    assert packed.to(torch.device("cpu")) is packed


def test_borders_are_put_on_a_device_once_and_read_like_a_list():
    borders = Borders([0, 3, 5])
    assert borders.on(torch.device("cpu")) is borders.on(torch.device("cpu"))
    assert borders.on(torch.device("cpu")).tolist() == list(borders) == [borders[0], *borders[1:]]
    assert Borders.of(borders) is borders
