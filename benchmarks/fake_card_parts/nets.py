"""A catalogue model on the fake card: NF4 layers as bitsandbytes holds them, an adapter, checkpointing."""

from typing import Any

import bitsandbytes
import bitsandbytes.functional as bnb
import torch
from torch import nn

from hafs.modeling import model_parts
from hafs.modeling.adapter import lora
from hafs.modeling.attention import NAME
from hafs.modeling.base_model import keep_on_cpu, quiet_libraries
from hafs.modeling.gpu_kernels import use_gpu_kernels

CARD = torch.device("cuda", 0)
BLOCK, OUTER_BLOCK = 64, 256


class FakeLinear4bit(nn.Linear):
    """bitsandbytes' own 4-bit product over fake tensors."""

    def __init__(self, like: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__(like.in_features, like.out_features, bias=False, device="meta")
        self.dtype, count = dtype, like.in_features * like.out_features
        self.weight = nn.Parameter(torch.empty((count // 2, 1), dtype=torch.uint8, device="meta"), requires_grad=False)
        if like.bias is not None:
            self.bias = nn.Parameter(torch.empty(like.out_features, dtype=dtype, device="meta"), requires_grad=False)

    def fill(self) -> None:
        """Make the scales on the card."""
        blocks = -(-self.in_features * self.out_features // BLOCK)
        outer = bnb.QuantState(
            absmax=torch.empty(-(-blocks // OUTER_BLOCK), device=CARD), code=torch.empty(256, device=CARD),
            blocksize=OUTER_BLOCK, dtype=torch.float32,
        )  # fmt: skip
        self.state = bnb.QuantState(
            absmax=torch.empty(blocks, dtype=torch.uint8, device=CARD), dtype=self.dtype, blocksize=BLOCK,
            shape=torch.Size((self.out_features, self.in_features)), quant_type="nf4",
            code=torch.empty(16, device=CARD), offset=torch.empty((), device=CARD), state2=outer,
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product."""
        return bitsandbytes.matmul_4bit(x, self.weight, bias=self.bias, quant_state=self.state)


def on_meta(config: Any, *, rank: int, dtype: torch.dtype) -> Any:
    """The net with its adapter, on the meta device."""
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=NAME)
    head = net.get_output_embeddings()
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not head:
            parent, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(parent), leaf, FakeLinear4bit(layer, dtype))
    net.activation_checkpointing_enable()
    use_gpu_kernels(net)
    adapter = lora(
        name="lora", r=rank, lora_alpha=32.0, lora_dropout=0.0, target_modules="all-linear", use_rslora=False,
        use_dora=False,
    )  # fmt: skip
    return adapter.attach(net.train())


def to_card(net: Any, *, embedding_on_cpu: bool) -> None:
    """Replace everything of the meta device by fake tensors on the card; call it in FakeTensorMode."""
    base = model_parts.base_of(net)
    rotary = type(base.model.rotary_emb)(config=base.config)
    rotary.inv_freq = nn.Buffer(torch.empty(rotary.inv_freq.shape, device=CARD), persistent=False)
    base.model.rotary_emb = rotary
    table = base.get_input_embeddings()
    for module in net.modules():
        place = "cpu" if embedding_on_cpu and module is table else CARD
        for name, parameter in list(module.named_parameters(recurse=False)):
            made = torch.empty(parameter.shape, dtype=parameter.dtype, device=place)
            setattr(module, name, nn.Parameter(made, requires_grad=parameter.requires_grad))
        if isinstance(module, FakeLinear4bit):
            module.fill()
    if embedding_on_cpu:
        table._apply = lambda *_, **__: table  # it is there already, and fake parameters cannot be moved
        keep_on_cpu(table)
