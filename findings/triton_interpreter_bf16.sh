#!/usr/bin/env bash
# Triton's interpreter (TRITON_INTERPRET=1), with which kernels are tried and debugged on a CPU, multiplies bf16 as integers.
# Guess: a product of two bf16 values is their product, rounded to bf16, as on a GPU.
# Seen:  triton 3.9.0 and 3.6.0 multiply the 16-bit patterns: 1 * 1 = 2, 2 * 2 = 0. No error; converting to float32 first is right.
# Who meets it: anyone who checks a bf16 kernel (RoPE, SwiGLU, norms) without a GPU, and takes a right kernel for a wrong one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.0
"$folder/venv/bin/pip" install -q --no-deps triton==3.9.0
cat > "$folder/products.py" <<'PY'
import torch
import triton
import triton.language as tl


@triton.jit
def square(x, y, n: tl.constexpr, wide: tl.constexpr):
    i = tl.arange(0, n)
    v = tl.load(x + i)
    if wide:
        v = v.to(tl.float32)
    tl.store(y + i, v * v)


x = torch.tensor([1.0, 2.0, -0.5, 3.25]).bfloat16()
narrow, wide = torch.empty_like(x), torch.empty_like(x)
square[(1,)](x, narrow, 4, False)
square[(1,)](x, wide, 4, True)
print(f"triton {triton.__version__}: squares of {x.tolist()} in bf16 {narrow.tolist()}, by float32 {wide.tolist()}")
assert wide.tolist() == (x * x).tolist()
assert narrow.tolist()[:2] == [2.0, 0.0], "the behaviour has changed"
PY
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/products.py"
