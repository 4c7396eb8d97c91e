"""Every fault of a server over HTTP once more, through `hafs serve`: its clients get a complete answer."""

import json
import os
import subprocess
import sys

import httpx
import pytest
from chains import POLICY, remote
from fault_server import ANSWER, FAULTS
from loopback_server import listening

from hafs.council.assembly import council
from hafs.providers.policy import Policy
from hafs.providers.quota import Ledger
from hafs.server.app import RequestLimits, application

TIMED = {"hang", "slow_first_token", "drip"}
PATIENT = {"deadline_seconds": 20.0, "attempt_seconds": 5.0, "first_token_seconds": 5.0, "idle_seconds": 5.0}


def serving(chosen):
    """An address where a council answers, as a context manager."""
    limits = RequestLimits(max_body_bytes=10_000, max_requests=8)
    return listening(application(chosen, token=None, limits=limits))


def answer(address, *, stream):
    """The text and the reason of its end, as a client reads them."""
    body = {"model": "hafs-council", "messages": [{"role": "user", "content": "What does lda do?"}], "stream": stream}
    response = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30)
    assert response.status_code == 200, response.text
    if not stream:
        choice = response.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, next(choice["finish_reason"] for choice in reversed(choices) if choice["finish_reason"])


@pytest.fixture(scope="module")
def base():
    return council(["provider=scripted", "router=keyword", "receipts=null"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
def test_a_client_of_the_endpoint_gets_the_complete_answer_of_the_second(server, base, fault, stream):
    providers = (
        remote(server.url(fault), key="FIRST_KEY"),
        remote(server.url("ok"), key="SECOND_KEY", name="second"),
    )
    policy = Policy(**{**POLICY, **({} if fault in TIMED else PATIENT)})
    chosen = base.model_copy(update={"providers": providers, "policy": policy, "ledger": Ledger(None)})
    with serving(chosen) as address:
        assert answer(address, stream=stream) == (ANSWER, "stop")


HOST = """# @package providers.{name}
# A server of the tests.
defaults:
  - openai_compatible@_here_
  - _self_
name: {name}
host:
  base_url: {url}
"""


def test_the_command_serves_through_a_broken_provider(server, tmp_path):
    folder = tmp_path / "conf" / "provider"
    folder.mkdir(parents=True)
    for name, fault in (("first", "cut_20"), ("second", "ok")):
        (folder / f"{name}.yaml").write_text(HOST.format(name=name, url=server.url(fault)))
    words = ["provider=first,second", "router=keyword", "port=0", "receipts=null"]
    environment = {**os.environ, "HAFS_STATE": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "hafs", "serve", *words],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said = process.stdout.readline()
            address = said.split()[2].removesuffix("/v1")
            assert answer(address, stream=True) == (ANSWER, "stop")
            assert answer(address, stream=False) == (ANSWER, "stop")
        finally:
            process.terminate()
