"""An adapter is tried on a few tokens before anything is trained: does it run, and does what it trains get gradients?

PEFT puts adapters on whatever its config names. Some it cannot run; and some parameters would be trained in vain,
because no gradient comes to them in a pass as hafs makes it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from hafs.core.errors import ConfigError
from hafs.modeling import inside, out_of_memory
from hafs.modeling.loss import token_loss
from hafs.modeling.plainly import untouched

TOKENS = 16


def tried(net: Any) -> None:
    """Take a loss and its gradients on a few tokens, and forget them.

    Args:
        net: A base with its adapter, in train mode.

    Raises:
        ConfigError: The adapter cannot be run on this base, or trains something that no gradient reaches.
    """
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    head = inside.head(net)
    if not any(map(_is_adapter, trained)) or head.weight_VD.is_meta:
        return
    ids_T = torch.arange(TOKENS, device=head.weight_VD.device) * (len(head.weight_VD) // TOKENS)
    flags = [module.training for module in net.modules()]
    with untouched(net), torch.enable_grad():
        for module, training in zip(net.modules(), flags, strict=True):
            module.training = training
        reached = _reached(trained, lambda: _loss(net, ids_T))
        missed = [name for name in trained if name not in reached and _is_adapter(name)]
        if missed:  # perhaps by transformers too: attention over an encoder, experts that no token came to
            logits = partial(inside.base_of(net), input_ids=ids_T[None], use_cache=False)
            theirs = _reached(trained, lambda: logits().logits.float().square().sum())
            missed = [name for name in missed if name in theirs]
    if missed:
        raise ConfigError(
            f"the adapter trains {missed[0]!r}, which gets no gradient ({len(missed)} such tensors)",
            hint="leave it out of adapter.target_modules; the vocabulary projection gets no adapter",
        )


def _loss(net: Any, ids_T: torch.Tensor) -> torch.Tensor:
    places_T = torch.arange(TOKENS, device=ids_T.device)
    hidden_TD = inside.hidden_states(net, ids_T, places_T, [0, TOKENS])
    return token_loss(hidden_TD, inside.head(net).to(hidden_TD.dtype), ids_T).nats


def _reached(trained: Mapping[str, torch.nn.Parameter], run: Callable[[], torch.Tensor]) -> set[str]:
    """What of the trained gets a gradient in a pass."""
    try:
        run().backward()
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise _not_run(error) from error
    except RuntimeError as error:
        if out_of_memory.is_out_of_memory(error):
            raise
        raise _not_run(error) from error
    finally:
        reached = {name for name, parameter in trained.items() if parameter.grad is not None}
        for parameter in trained.values():
            parameter.grad = None
    return reached


def _is_adapter(name: str) -> bool:
    return any(word in name for word in ("lora_", "modules_to_save", "token_adapter", "trainable_tokens"))


def _not_run(error: Exception) -> ConfigError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return ConfigError(
        f"PEFT's adapter cannot be run on this model: {type(error).__name__}: {said}",
        hint="other adapter.target_modules, those of attention for instance; or model.gradient_checkpointing=false",
    )
