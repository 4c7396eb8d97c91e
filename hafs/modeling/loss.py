"""Cross entropy directly from hidden states: the full logits of a step are never in memory.

Legend: `N` supervised positions, `D` hidden width, `V` vocabulary, `C` one chunk of positions.
"""

import math
from typing import NamedTuple

import torch

from hafs.modeling.head import OutputHead
from hafs.modeling.kernel_limits import GPU_LOSS_CHUNK_BYTES, LOSS_CHUNK_BYTES


class TokenLoss(NamedTuple):
    """The loss and accuracy of one forward pass over its supervised tokens; sums, so parts of a step add up exactly."""

    nats: torch.Tensor
    """Scalar: summed negative log likelihood, in nats."""
    correct: torch.Tensor
    """Scalar: how many tokens were the most likely one; of pairs: how many are ranked right."""
    margin: torch.Tensor
    """Scalar: of pairs, the summed reward margin; else 0."""

    @classmethod
    def nothing(cls, device: torch.device) -> "TokenLoss":
        """Of no tokens."""
        zero = torch.zeros((), device=device)
        return cls(zero, torch.zeros((), dtype=torch.long, device=device), zero)

    def plus(self, part: "TokenLoss", weight: int = 1) -> "TokenLoss":
        """The sum, without a gradient; a part of weight 0 does not count."""
        return TokenLoss(
            self.nats + part.nats.detach() * weight,
            self.correct + part.correct * weight,
            self.margin + part.margin * weight,
        )


def _room(chunk: int, weight_VD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and float32 probabilities of one chunk, in one block that all chunks of a packed sequence share.

    On a CPU the piece of a full chunk is larger than what the C library keeps in its heap (32 MiB), so it goes back to
    the system and leaves no holes among the activations.
    """
    size = chunk * len(weight_VD)
    begin = math.ceil(4 * size / 64) * 64  # a cache line's border
    room = torch.empty(begin + size * weight_VD.element_size(), dtype=torch.uint8, device=weight_VD.device)
    probs, logits = room[: 4 * size].view(torch.float32), room[begin:].view(weight_VD.dtype)
    return logits.view(chunk, -1), probs.view(chunk, -1)


def _softmax(logits_CV: torch.Tensor, probs_CV: torch.Tensor) -> None:
    """Softmax in float32; in place if each row is read before it is written; torch would copy the logits."""
    if probs_CV.device.type in ("cpu", "cuda"):
        torch.softmax(probs_CV.copy_(logits_CV), -1, out=probs_CV)
    else:
        torch.softmax(logits_CV, -1, dtype=torch.float32, out=probs_CV)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes gradients while a chunk's probabilities are in memory (the idea of Liger Kernel, arXiv 2410.10989)."""

    @staticmethod
    def forward(ctx, hidden_ND, weight_VD, bias_V, target_N, chunk, head):
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias_V, dtype=torch.float32) if needs_bias else None
        nats = hidden_ND.new_zeros((), dtype=torch.float32)
        correct = hidden_ND.new_zeros((), dtype=torch.long)
        logits, probs = _room(min(chunk, len(hidden_ND)), weight_VD)
        for start in range(0, len(hidden_ND), chunk):
            hidden_CD, target_C1 = hidden_ND[start : start + chunk], target_N[start : start + chunk, None]
            logits_CV, probs_CV = logits[: len(hidden_CD)], probs[: len(hidden_CD)]
            torch.mm(hidden_CD, weight_VD.T, out=logits_CV)
            head.finish_(logits_CV)
            slope_CV = head.slope(logits_CV) if any(ctx.needs_input_grad[:3]) else None
            _softmax(logits_CV, probs_CV)
            top_C1, best_C1 = probs_CV.max(-1, keepdim=True)
            # log-sum-exp = best logit - log(its probability): exact where log(softmax) of the target would underflow
            log_norm_C1 = logits_CV.gather(1, best_C1).float() - top_C1.log()
            nats += (log_norm_C1 - logits_CV.gather(1, target_C1).float()).sum()
            correct += (best_C1 == target_C1).sum()
            if any(ctx.needs_input_grad[:3]):
                grad_CV = logits_CV.copy_(probs_CV)
                grad_CV.scatter_add_(1, target_C1, grad_CV.new_full((1, 1), -1.0).expand_as(target_C1))
                if slope_CV is not None:
                    grad_CV *= slope_CV
            if grad_hidden is not None:
                torch.mm(grad_CV, weight_VD, out=grad_hidden[start : start + chunk])
            if grad_weight is not None:
                grad_weight += grad_CV.T @ hidden_CD
            if grad_bias is not None:
                grad_bias += grad_CV.sum(0, dtype=torch.float32)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.weight_dtype = weight_VD.dtype
        ctx.mark_non_differentiable(correct)
        return nats, correct

    @staticmethod
    def backward(ctx, grad_nats, _):
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad_nats.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * grad_nats).to(ctx.weight_dtype),
            None if grad_bias is None else (grad_bias * grad_nats).to(ctx.weight_dtype),
            None,
            None,
            None,
        )


def token_loss(hidden_ND: torch.Tensor, head: OutputHead, target_N: torch.Tensor) -> TokenLoss:
    """Summed cross entropy of `target_N` under the softmax of the head's logits.

    Args:
        hidden_ND: The model's last hidden states at the positions that predict a supervised token.
        head: The vocabulary projection (tied to the embedding in many models), in the type of the hidden states.
        target_N: The token ids to predict, int64.

    Returns:
        Nats and correct predictions, both summed over `N`; differentiable in the hidden states and the head.
    """
    if not len(hidden_ND):
        return TokenLoss.nothing(hidden_ND.device)._replace(nats=hidden_ND.sum().float())
    room = LOSS_CHUNK_BYTES.get(hidden_ND.device.type, GPU_LOSS_CHUNK_BYTES)
    chunk = max(1, room // (4 * len(head.weight_VD)))
    nats, correct = _ChunkedCrossEntropy.apply(hidden_ND, head.weight_VD, head.bias_V, target_N, chunk, head)
    return TokenLoss(nats, correct, torch.zeros((), device=nats.device))
