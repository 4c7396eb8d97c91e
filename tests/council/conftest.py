import pytest

from hafs.council.assembly import council


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """A ledger, a registry and a working folder of its own for every test."""
    monkeypatch.setenv("HAFS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HAFS_REGISTRY", str(tmp_path / "registry.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def seat():
    """A council on the scripted provider, routed by keywords."""

    def make(*words):
        chosen = {word.split("=", 1)[0] for word in words}
        defaults = [w for w in ("provider=scripted", "router=keyword") if w.split("=", 1)[0] not in chosen]
        return council([*defaults, *words])

    return make
