import pytest
import torch

from hafs.config import build, compose


@pytest.mark.filterwarnings("ignore:Paged")
@pytest.mark.parametrize("name", ["adamw", "paged_adamw_8bit"])
def test_weight_decay_spares_norms_and_biases(name):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimizer = build(compose("train", [f"optimizer={name}", "optimizer.weight_decay=0.5"]).optimizer,
                      parameters=list(net.parameters()))  # fmt: skip
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = net.state_dict()
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * (1 - 0.1 * 0.5))
    for key in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[key], before[key]), key


def test_without_weight_decay_an_optimizer_has_one_group_as_older_checkpoints_do():
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))
    optimizer = build(compose("train").optimizer, parameters=list(net.parameters()))
    assert [len(group["params"]) for group in optimizer.param_groups] == [4]
