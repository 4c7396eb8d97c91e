import pytest
import torch
import torch.nn.functional as F

from hafs.modeling import loss
from hafs.modeling.head import OutputHead
from hafs.modeling.loss import token_loss


def reference(hidden, weight, target):
    return F.cross_entropy(F.linear(hidden, weight).float(), target, reduction="sum")


@pytest.fixture
def problem():
    torch.manual_seed(0)
    hidden = torch.randn(37, 16, dtype=torch.float64).requires_grad_()
    weight = torch.randn(101, 16, dtype=torch.float64).requires_grad_()
    return hidden, weight, torch.randint(0, 101, (37,))


@pytest.mark.parametrize("chunk_bytes", [404, 4 * 101 * 5, 1 << 20])
def test_the_chunked_loss_and_its_gradients_are_those_of_cross_entropy(problem, chunk_bytes, monkeypatch):
    monkeypatch.setitem(loss.LOSS_CHUNK_BYTES, "cpu", chunk_bytes)
    hidden, weight, target = problem
    expected = torch.autograd.grad(reference(hidden, weight, target) / 3, (hidden, weight))
    nats, correct, _ = token_loss(hidden, OutputHead(weight_VD=weight), target)
    got = torch.autograd.grad(nats / 3, (hidden, weight))
    assert nats.item() == pytest.approx(reference(hidden, weight, target).item(), rel=1e-6)
    assert correct == (F.linear(hidden, weight).argmax(-1) == target).sum()
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_target_of_vanishing_probability_has_a_finite_loss_and_gradient():
    hidden = torch.tensor([[200.0, 0.0]]).requires_grad_()
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    nats, _, _ = token_loss(hidden, OutputHead(weight_VD=weight), torch.tensor([1]))
    nats.backward()
    assert nats.item() == pytest.approx(400.0)
    torch.testing.assert_close(hidden.grad, torch.tensor([[2.0, 0.0]]))


def test_no_supervised_position_is_a_loss_of_zero_that_can_be_backpropagated():
    hidden = torch.zeros(0, 4, requires_grad=True)
    nats, correct, _ = token_loss(hidden, OutputHead(weight_VD=torch.randn(7, 4)), torch.zeros(0, dtype=torch.long))
    nats.backward()
    assert nats.item() == 0.0
    assert correct.item() == 0


def test_a_nan_in_the_hidden_states_is_a_nan_loss():
    hidden = torch.tensor([[float("nan"), 0.0]])
    assert token_loss(hidden, OutputHead(weight_VD=torch.randn(3, 2)), torch.tensor([0])).nats.isnan()


FORMS = [{"scale": 0.25}, {"cap": 3.0}, {"bias": True}, {"bias": True, "scale": 2.0, "cap": 5.0}]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk_bytes", [4 * 101 * 5, 1 << 20])
def test_scale_softcap_and_bias_are_in_the_loss_and_in_every_gradient(problem, form, chunk_bytes, monkeypatch):
    monkeypatch.setitem(loss.LOSS_CHUNK_BYTES, "cpu", chunk_bytes)
    hidden, weight, target = problem
    bias = torch.randn(101, dtype=torch.float64).requires_grad_() if "bias" in form else None
    head = OutputHead(weight_VD=weight, bias_V=bias, scale=form.get("scale", 1.0), cap=form.get("cap"))
    logits = F.linear(hidden, weight, bias) * head.scale
    logits = logits if head.cap is None else torch.tanh(logits / head.cap) * head.cap
    expected = F.cross_entropy(logits, target, reduction="sum")
    leaves = [hidden, weight] + ([bias] if bias is not None else [])
    nats, _, _ = token_loss(hidden, head, target)
    assert nats.item() == pytest.approx(expected.item(), rel=1e-6)
    for a, b in zip(torch.autograd.grad(nats, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(head.logits(hidden), logits.float())
