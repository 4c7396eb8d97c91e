import pytest
from conformance import line, table
from conformance_check import Verdict, check

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and PEFT, about types that hafs only tries

PACKED = (
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "gemma4_text", "granite", "cohere2", "phi3", "olmo3",
    "smollm3", "glm4", "gpt2", "opt", "qwen3_moe", "gpt_oss", "deepseek_v3", "llama4_text",
)  # fmt: skip
"""Types whose samples share a row: what most people train, and one for each thing that attention or head may do."""
ALONE = ("qwen3_next", "lfm2", "granitemoehybrid", "stablelm", "xglm")
REFUSED = {"bert": "head", "mamba": "out_proj"}


@pytest.mark.parametrize("kind", [*PACKED, *ALONE])
def test_hafs_computes_what_transformers_computes(kind):
    found = check(kind, quick=True)
    if found.word == "refused" and "PEFT" in found.why:  # of all linear layers; loss, generation and plan are right
        assert kind == "llama4_text"
    else:
        assert found.word == "right", line(found)
    assert found.way.startswith("packed" if kind in PACKED else "each sample"), found.way


@pytest.mark.parametrize("kind", REFUSED)
def test_what_it_does_not_compute_is_refused_with_the_reason(kind):
    found = check(kind, quick=True)
    assert found.word == "refused", line(found)
    assert REFUSED[kind] in found.why
    assert "\n" not in found.why


def test_the_table_has_a_line_for_each_type_and_the_versions():
    page = table([Verdict("b", "refused", "a | b"), Verdict("a", way="packed")])
    assert "| a | right | packed |\n| b | refused | a / b |\n" in page
    assert "transformers 5" in page
