"""Cross entropy straight from hidden states: the full logits of a step are never held.

Legend: `N` supervised positions, `D` hidden width, `V` vocabulary, `C` one chunk of positions.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from hafs.model.limits import GPU_LOSS_CHUNK_BYTES, LOSS_CHUNK_BYTES


class TokenLoss(NamedTuple):
    """What one forward pass says about its supervised tokens; a sum, so parts of a step add up exactly."""

    nats: torch.Tensor
    """Scalar: summed negative log likelihood, in nats."""
    correct: torch.Tensor
    """Scalar: how many tokens were the most likely one."""

    @classmethod
    def nothing(cls, device: torch.device) -> "TokenLoss":
        """Of no tokens."""
        return cls(torch.zeros((), device=device), torch.zeros((), dtype=torch.long, device=device))

    def plus(self, part: "TokenLoss", weight: int = 1) -> "TokenLoss":
        """The sum, without a gradient; a part of weight 0 does not count."""
        return TokenLoss(self.nats + part.nats.detach() * weight, self.correct + part.correct * weight)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Takes the gradients while a chunk's probabilities are at hand (the idea of Liger Kernel, arXiv 2410.10989)."""

    @staticmethod
    def forward(ctx, hidden_ND, weight_VD, target_N, chunk):
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        nats = hidden_ND.new_zeros((), dtype=torch.float32)
        correct = hidden_ND.new_zeros((), dtype=torch.long)
        for start in range(0, len(hidden_ND), chunk):
            hidden_CD, target_C1 = hidden_ND[start : start + chunk], target_N[start : start + chunk, None]
            logits_CV = F.linear(hidden_CD, weight_VD)
            probs_CV = torch.softmax(logits_CV, -1, dtype=torch.float32)
            top_C1, best_C1 = probs_CV.max(-1, keepdim=True)
            # log-sum-exp = best logit - log(its probability): exact where log(softmax) of the target would underflow
            log_norm_C1 = logits_CV.gather(1, best_C1).float() - top_C1.log()
            nats += (log_norm_C1 - logits_CV.gather(1, target_C1).float()).sum()
            correct += (best_C1 == target_C1).sum()
            del logits_CV
            if needs_hidden or needs_weight:
                grad_CV = probs_CV.to(weight_VD.dtype)
                grad_CV.scatter_add_(1, target_C1, grad_CV.new_full((1, 1), -1.0).expand_as(target_C1))
            if grad_hidden is not None:
                torch.mm(grad_CV, weight_VD, out=grad_hidden[start : start + chunk])
            if grad_weight is not None:
                grad_weight += grad_CV.T @ hidden_CD
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight_VD.dtype
        ctx.mark_non_differentiable(correct)
        return nats, correct

    @staticmethod
    def backward(ctx, grad_nats, _):
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad_nats.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * grad_nats).to(ctx.weight_dtype),
            None,
            None,
        )


def token_loss(hidden_ND: torch.Tensor, weight_VD: torch.Tensor, target_N: torch.Tensor) -> TokenLoss:
    """Summed cross entropy of `target_N` under `softmax(hidden_ND @ weight_VD.T)`.

    Args:
        hidden_ND: The model's last hidden states at the positions that predict a supervised token.
        weight_VD: The vocabulary projection (tied to the embedding in many models).
        target_N: The token ids to predict, int64.

    Returns:
        Nats and correct predictions, both summed over `N`; differentiable in the first two arguments.
    """
    if not len(hidden_ND):
        return TokenLoss(hidden_ND.sum().float(), torch.zeros((), dtype=torch.long, device=hidden_ND.device))
    room = LOSS_CHUNK_BYTES.get(hidden_ND.device.type, GPU_LOSS_CHUNK_BYTES)
    chunk = max(1, room // (4 * weight_VD.shape[0]))
    return TokenLoss(*_ChunkedCrossEntropy.apply(hidden_ND, weight_VD, target_N, chunk))
