"""The base model and its tokenizer, from any source of weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hafs.core.errors import ConfigError
from hafs.modeling.arguments import fixed
from hafs.modeling.quantization import Quant
from hafs.modeling.weights import Hub, PackagedGguf, RandomWeights, Weights, hub, packaged_gguf, random_weights

if TYPE_CHECKING:
    import torch

__all__ = [
    "Hub",
    "Model",
    "PackagedGguf",
    "RandomWeights",
    "Weights",
    "causal_lm",
    "hub",
    "packaged_gguf",
    "random_weights",
]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A causal language model; nothing is loaded until `tokenizer` or `load`."""

    name: str
    """As in `model=`."""
    weights: Weights
    """The source of tokenizer and weights."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: a third more time for a fraction of the memory."""
    embedding_on_cpu: bool
    """Keep the input embedding in CPU memory, where it is not also the vocabulary projection."""
    template: Mapping[str, Any] | None
    """Arguments of the chat template; `date` replaces the current date."""

    def tokenizer(self) -> Any:
        """The model's fast tokenizer, with its chat template, in which the arguments and the date are fixed.

        Raises:
            ConfigError: The template has no such argument, or there is no template.
        """
        from transformers import AutoTokenizer

        quiet_libraries()
        tokenizer = self.weights.loading(AutoTokenizer.from_pretrained)
        tokenizer.chat_template = self._fixed(tokenizer.chat_template)
        return tokenizer

    def _fixed(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {name: self._fixed(each) for name, each in template.items()}
        if template is None and self.template:
            raise ConfigError(
                f"model {self.name!r} has no chat template that could take arguments", hint="template: null"
            )
        return template and fixed(template, self.template or {})

    def own_template(self) -> str | None:
        """The chat template, where it is not the one that the weights come with."""
        from transformers import AutoTokenizer

        theirs = self.weights.loading(AutoTokenizer.from_pretrained).chat_template
        ours = self._fixed(theirs)
        return ours if isinstance(ours, str) and ours != theirs else None

    def load(self, *, quant: Quant, dtype: "torch.dtype", device: "torch.device") -> Any:
        """The model on its device, in train mode (bitsandbytes repacks 4-bit weights of a base in eval mode).

        Args:
            quant: How the linear layers are stored.
            dtype: The type of everything that is not quantized, and of all products.
            device: Where to load to.

        Raises:
            UnsupportedModel: hafs does not compute what transformers computes for it (`hafs.modeling.guard`).
            ConfigError: It is no language model.
        """
        import torch
        from transformers import AutoConfig

        from hafs.modeling.attention import NAME
        from hafs.modeling.auto_class import auto_class
        from hafs.modeling.expert_weights import move_scales, quantize_experts
        from hafs.modeling.gpu_kernels import use_gpu_kernels
        from hafs.modeling.guard import guard
        from hafs.modeling.hardware.gpu_memory import limit_memory

        quiet_libraries()
        bound_kernels()
        limit_memory(device)

        settings = quant.config(dtype)
        there = torch.device("cpu") if quant.experts else device  # their 16 bits may not fit where their 4 bits do
        extra = {} if settings is None else {"quantization_config": settings, "device_map": {"": there}}
        known = auto_class(self.weights.loading(AutoConfig.from_pretrained))
        load = partial(self.weights.loading, known.from_pretrained, dtype=dtype, **extra)
        try:
            net = load(attn_implementation=NAME)
        except KeyError as error:  # its layers choose among attention classes of their own
            if error.args != (NAME,):
                raise
            net = load()
        if quant.experts:
            quantize_experts(net, quant)
        if settings is None or there != device:
            net = net.to(device)
            move_scales(net, device)
        if self.gradient_checkpointing:
            _checkpointed(net)
        if self.embedding_on_cpu and not getattr(net.config, "tie_word_embeddings", False):
            keep_on_cpu(net.get_input_embeddings())
        if device.type == "cuda":
            use_gpu_kernels(net)
        guard(net)
        return net.train()


def _checkpointed(net: Any) -> None:
    from hafs.modeling.guard import UnsupportedModel

    try:
        net.activation_checkpointing_enable()
    except ValueError as error:
        hint = "model.gradient_checkpointing=false"
        raise UnsupportedModel(net, "checkpointing", str(error).strip().splitlines()[0], hint=hint) from error


KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}
"""Kernels that oneDNN keeps for CPUs, and those that torch (ideep) keeps once more, with their scratch memory.

Every sequence length needs its own; with 1,024 each, the default, a run's resident memory grew by 17 MB per step
(docs/explanation/log.md).
"""


def bound_kernels() -> None:
    """Limit both caches before the first kernel; values from the environment are kept."""
    for name, capacity in KERNELS.items():
        os.environ.setdefault(name, capacity)


def keep_on_cpu(embedding: Any) -> None:
    """Keep an embedding in CPU memory when its model moves; it looks up there and sends the result."""
    embedding.to("cpu")
    embedding._apply = lambda *_, **__: embedding  # what `.to()` of the whole model calls for each of its parts
    embedding.forward = lambda ids: _look_up(embedding, ids)


def _look_up(embedding: Any, ids: "torch.Tensor") -> "torch.Tensor":
    found = type(embedding).forward(embedding, ids.to(embedding.weight.device))
    return found.to(ids.device, non_blocking=True)


def quiet_libraries() -> None:
    """Silence progress bars and loading advice that do not concern training."""
    import logging
    import warnings

    from transformers.utils import logging as transformers_logging

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it recommends a package of kernels that is not needed
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)


def causal_lm(
    *,
    name: str,
    weights: Weights,
    gradient_checkpointing: bool,
    embedding_on_cpu: bool,
    template: dict[str, Any] | None,
) -> Model:
    """The model that the `model` group names."""
    return Model(
        name=name, weights=weights, gradient_checkpointing=gradient_checkpointing, embedding_on_cpu=embedding_on_cpu,
        template=template,
    )  # fmt: skip
