import pytest
from fault_server import FaultServer


@pytest.fixture(scope="session")
def running():
    with FaultServer() as server:
        yield server


@pytest.fixture
def server(running):
    running.calls.clear()
    return running


@pytest.fixture(autouse=True)
def keys(monkeypatch, tmp_path):
    """Two accounts, and a ledger that is nobody's."""
    monkeypatch.setenv("FIRST_KEY", "sk-canary-first-0123456789")
    monkeypatch.setenv("SECOND_KEY", "canary.second.9876543210")
    monkeypatch.setenv("HAFS_STATE", str(tmp_path / "state"))
