"""Models and adapters as GGUF, the format of llama.cpp: Llama, Qwen2 and Gemma 3, tokenizer and chat template included.

architecture   a base model in llama.cpp's terms            base.py, adapter.py   the two kinds of files
files          reads and writes tensors, one at a time      cache.py              where files are kept
vocabulary     the tokenizer that training used

`bf16` of a bf16 model is exact. Compare every file with the original before you use it: on some CPUs llama.cpp computes
nonsense from quantized files.

Shapes are those of transformers (`[out, in]`); GGUF lists them in reverse.
"""

from hafs.modeling.gguf.adapter import more_than_lora, write_adapter
from hafs.modeling.gguf.base import write_model
from hafs.modeling.gguf.files import Kind

__all__ = ["Kind", "more_than_lora", "write_adapter", "write_model"]
