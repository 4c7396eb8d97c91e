import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from hafs.modeling.adapter import lora_forward
from hafs.modeling.adapter.lora_forward import cast_once, use_lora_forward


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(12, 20), torch.nn.Linear(20, 8)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def adapted(**fields):
    torch.manual_seed(0)
    net = get_peft_model(Net(), LoraConfig(r=4, target_modules=["first", "second"], **fields))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("fields", [{}, {"use_rslora": True}, {"lora_alpha": 3}])
def test_the_fused_branch_gives_pefts_outputs_and_gradients(fields):
    plain = adapted(**fields)
    fused = copy.deepcopy(plain)
    assert use_lora_forward(fused) == 2
    x = torch.randn(2, 5, 12)
    outputs = []
    for net in (plain, fused):
        y = net(x)
        y.square().sum().backward()
        outputs.append((y, [p.grad for p in net.parameters() if p.requires_grad]))
    torch.testing.assert_close(outputs[0][0], outputs[1][0])
    for a, b in zip(outputs[0][1], outputs[1][1], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("fields", [{"use_dora": True}, {"lora_bias": True}])
def test_other_variants_keep_pefts_own_forward(fields):
    assert use_lora_forward(adapted(**fields)) == 0


def test_a_disabled_adapter_gives_the_base():
    net = adapted()
    use_lora_forward(net)
    x = torch.randn(3, 12)
    with net.disable_adapter():
        torch.testing.assert_close(net(x), net.get_base_model()(x))
        disabled = net(x)
    assert not torch.allclose(disabled, net(x))


def test_dropout_is_drawn_from_the_random_number_generator_and_only_in_train_mode():
    net = adapted(lora_dropout=0.5)
    use_lora_forward(net)
    x = torch.randn(3, 12)
    torch.manual_seed(1)
    first = net(x)
    assert not torch.equal(first, net(x))
    torch.manual_seed(1)
    assert torch.equal(first, net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("checkpointed", [False, True])
def test_weights_are_converted_once_per_step_and_change_no_bit(checkpointed, monkeypatch):
    """Not in each pass, again in its recomputation, and again on the way back."""
    net = adapted()
    net.get_base_model().bfloat16()
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    use_lora_forward(net)
    xs, found, counted = [torch.randn(5, 12, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)], [], []
    real = lora_forward._cast

    def noted(layer, name, dtype):
        cast = real(layer, name, dtype)
        counted.append(None if cast is None else cast[0].data_ptr())
        return cast

    monkeypatch.setattr(lora_forward, "_cast", noted)
    for enabled in (False, True):
        net.zero_grad(set_to_none=True)
        counted.clear()
        with cast_once(net, enabled=enabled):
            for x in xs:
                y = torch.utils.checkpoint.checkpoint(net, x, use_reentrant=False) if checkpointed else net(x)
                y.float().square().sum().backward()
        found.append([p.grad for p in net.parameters() if p.requires_grad])
    assert len(counted) == (12 if checkpointed else 6)
    assert len(set(counted)) == 2, "one copy for each of two layers"
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    net(xs[0])
    assert counted[-1] is None, "nothing is kept beyond a step, in which the weights change"
