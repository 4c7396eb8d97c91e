from contextlib import ExitStack

import pytest
from loopback_server import listening
from openai_host import Host

from hafs.council.assembly import council
from hafs.server.app import RequestLimits, application


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


@pytest.fixture(scope="module")
def host():
    """A host that calls tools, thinks and fills schemas; `host.url` is its address, `host.bodies` what it was sent."""
    made = Host()
    with listening(made.app) as address:
        made.url = f"{address}/v1"
        yield made


@pytest.fixture(scope="module")
def over(host):
    """Overrides for a council over that host."""
    takes = "[tools,tool_choice,parallel_tool_calls,response_format,max_tokens,stop,reasoning_effort,reasoning_content]"
    return [
        "provider=openai_compatible",
        f"provider.openai_compatible.host.base_url={host.url}",
        f"provider.openai_compatible.parameters={takes}",
    ]


@pytest.fixture
def served(seat):
    """Serves a council on loopback; gives its address."""
    with ExitStack() as running:

        def start(*words, token=None, max_requests=8, max_body_bytes=10_000, **options):
            limits = RequestLimits(max_body_bytes=max_body_bytes, max_requests=max_requests)
            return running.enter_context(listening(application(seat(*words), token=token, limits=limits, **options)))

        yield start
