"""Commands that need no local model import no library of one, and take little memory."""

import subprocess
import sys

import pytest

LOCAL_MODELS = {"torch", "transformers", "peft", "bitsandbytes", "pytorch_lightning", "datasets", "pandas", "sklearn"}
OTHER_CLIENTS = {"openai", "httpx", "ollama", "langchain_openai", "mcp", "uvicorn", "starlette"}
CODE = """
import atexit, sys
from pathlib import Path

def tell():
    heavy = {name for name in sys.modules if "." not in name}
    print("IMPORTED", *sorted(heavy), file=sys.stderr)
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print("MIB", int(peak) // 1024, file=sys.stderr)

atexit.register(tell)
from hafs.cli import main
main()
"""


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "Why does it crash?", "provider=scripted"],
        ["plan", "model=tiny", "hardware=cpu"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_imports_what_it_needs(words, here):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=False, cwd=here, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = {line.split()[0]: line.split()[1:] for line in done.stderr.splitlines() if line[:3] in ("IMP", "MIB")}
    assert not (LOCAL_MODELS | OTHER_CLIENTS) & set(told["IMPORTED"])
    assert int(told["MIB"][0]) < 200  # 166 for `ask`, of which the router's encoder is 43
