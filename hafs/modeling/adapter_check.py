"""Check an adapter on a few tokens before training: does it run, and are its gradients those of PEFT's model?

PEFT attaches adapters to whatever its config names. Some combinations fail in the forward pass. Other parameters would
get no gradient, or a wrong one, because hafs runs decoder and head separately.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hafs.core.errors import ConfigError
from hafs.modeling import model_parts, out_of_memory
from hafs.modeling.attention import NAME
from hafs.modeling.loss import token_loss
from hafs.modeling.reference_run import transformers_attention, untouched

TOKENS = 16
EXACT, ROUGH = 1e-3, 0.3
"""How far gradients may be apart, in float32 and in 16 bits or over quantized weights, as a share of their norm."""


def check_adapter(net: Any) -> None:
    """Compute the loss of a few tokens and its gradients with hafs and with transformers, and compare them.

    Args:
        net: A base with its adapter, in train mode.

    Raises:
        ConfigError: The adapter cannot run on this base model, or a gradient differs.
    """
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    head = model_parts.head(net)
    if not any(map(_is_adapter, trained)) or head.weight_VD.is_meta:
        return
    ids_T = torch.arange(TOKENS, device=head.weight_VD.device) * (len(head.weight_VD) // TOKENS)
    flags = [(module, module.training) for module in net.modules()]
    with untouched(net), torch.enable_grad():
        ours = _gradients(trained, lambda: _loss(net, ids_T))
        with transformers_attention(net, NAME):
            theirs = _gradients(trained, lambda: _loss_by_transformers(net, ids_T))
        if any(training and getattr(module, "gradient_checkpointing", False) for module, training in flags):
            for module, training in flags:
                module.training = training
            _gradients(trained, lambda: _loss(net, ids_T))
    rough = getattr(model_parts.base_of(net), "is_quantized", False) or model_parts.base_of(net).dtype != torch.float32
    largest = max((float(gradient.norm()) for gradient in theirs.values()), default=0.0)
    for name, expected in theirs.items():
        apart = float((ours.get(name, torch.zeros_like(expected)) - expected).norm())
        if apart > (ROUGH if rough else EXACT) * (float(expected.norm()) + largest * EXACT):
            raise ConfigError(
                f"training {name!r} is not supported: its gradient differs from the one in PEFT's own model",
                hint="leave it out of adapter.target_modules or adapter.trainable_token_indices",
            )


def _loss(net: Any, ids_T: torch.Tensor) -> torch.Tensor:
    places_T = torch.arange(TOKENS, device=ids_T.device)
    hidden_TD = model_parts.hidden_states(net, ids_T, places_T, [0, TOKENS])
    return token_loss(hidden_TD[:-1], model_parts.head(net).to(hidden_TD.dtype), ids_T[1:]).nats


def _loss_by_transformers(net: Any, ids_T: torch.Tensor) -> torch.Tensor:
    logits_TV = net(input_ids=ids_T[None], use_cache=False).logits[0].float()
    return torch.nn.functional.cross_entropy(logits_TV[:-1], ids_T[1:], reduction="sum")


def _gradients(trained: Mapping[str, torch.nn.Parameter], loss: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of the trained parameters in float32; they are cleared afterwards."""
    try:
        loss().backward()
        return {name: p.grad.float() for name, p in trained.items() if p.grad is not None}
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise _not_run(error) from error
    except RuntimeError as error:
        if out_of_memory.is_out_of_memory(error):
            raise
        raise _not_run(error) from error
    finally:
        for parameter in trained.values():
            parameter.grad = None


def _is_adapter(name: str) -> bool:
    return any(word in name for word in ("lora_", "modules_to_save", "token_adapter", "trainable_tokens"))


def _not_run(error: Exception) -> ConfigError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return ConfigError(
        f"PEFT's adapter cannot be run on this model: {type(error).__name__}: {said}",
        hint="use other adapter.target_modules, for example the attention, or model.gradient_checkpointing=false",
    )
