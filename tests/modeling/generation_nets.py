import torch
from peft import LoraConfig, get_peft_model

from hafs.chat import Message
from hafs.config import build, compose
from hafs.modeling.adapter.lora_forward import use_lora_forward

PROMPTS = [
    "What is the capital of France?",
    "Write one line of 65816 assembly that loads zero into the accumulator, and say what each part of it means.",
    "Hi",
    "List three colours.",
    "Why does my ROM hack crash when Link enters the cave? I changed the tile map at $7E2000 and the command table.",
]


def conversation(text):
    return (Message(role="user", content=text),)


def loaded(model, *, quant="none", dtype=torch.float32, adapters=2, spread=0.02, **fields):
    """A base with adapters that change what it says."""
    config = compose("train", [f"model={model}", f"quant={quant}"])
    source = build(config.model)
    net = source.load(quant=build(config.quant), dtype=dtype, device=torch.device("cpu"))
    for i in range(adapters):
        torch.manual_seed(i)
        lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **fields)
        if i:
            net.add_adapter(f"a{i}", lora)
        else:
            net = get_peft_model(net, lora, adapter_name="a0")
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=spread)
    use_lora_forward(net)
    return net, source.tokenizer()
