"""Models and adapters as GGUF, the format of llama.cpp: Llama, Qwen2 and Gemma 3, tokenizer and chat template included.

architecture   what llama.cpp must be told of a base      base.py, adapter.py   the two files that it serves
files          tensors read and written, one at a time     cache.py              where they are kept
vocabulary     the tokenizer that training used

The weights keep their order of magnitude: `bf16` of a bf16 model changes no bit. Whatever is written should be compared
with the original before it is trusted: on some CPUs llama.cpp computes nonsense from quantized files.

Shapes are those of transformers (`[out, in]`); GGUF lists them in reverse.
"""

from hafs.modeling.gguf.adapter import more_than_lora, write_adapter
from hafs.modeling.gguf.base import write_model
from hafs.modeling.gguf.files import Kind

__all__ = ["Kind", "more_than_lora", "write_adapter", "write_model"]
