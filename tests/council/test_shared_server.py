"""What a team needs of a server: keys and budgets, figures, a log, kept answers, several processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from loopback_server import listening

from hafs.core.errors import ConfigError
from hafs.council.receipt_folder import tidy
from hafs.server.answer_cache import AnswerCache
from hafs.server.app import RequestLimits, application
from hafs.server.users import DAY_SECONDS, UsageStore, User, Users

ONE = "How do I use lda and sta in a subroutine?"
KEYS = {"ADA_KEY": "ada-ada-ada-ada-ada", "BOB_KEY": "bob-bob-bob-bob-bob"}
NONE = {"requests_per_day": None, "tokens_per_day": None, "dollars_per_day": None}


def ask(address, key=None, text=ONE, **more):
    body = {"model": "hafs-council", "messages": [{"role": "user", "content": text}], **more}
    headers = {"x-api-key": key} if key else {}
    return httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=30)


@pytest.fixture
def users(tmp_path, monkeypatch):
    """Makes users with these limits."""
    for variable, key in KEYS.items():
        monkeypatch.setenv(variable, key)
    stores = []

    def make(**limits):
        stores.append(UsageStore(tmp_path / "usage.sqlite3"))
        told = {"ada": {"key_env": "ADA_KEY", **NONE, **limits}, "bob": {"key_env": "BOB_KEY", **NONE}}
        return Users(told, stores[-1])

    yield make
    for store in stores:
        store.close()


def test_each_user_has_a_key_and_a_budget(served, users):
    kept = users(requests_per_day=2)
    address = served(users=kept)
    assert [ask(address, key).status_code for key in (None, "wrong")] == [401, 401]
    assert [ask(address, KEYS["ADA_KEY"]).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(address, KEYS["ADA_KEY"])
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert 0 < int(refused.headers["retry-after"]) <= DAY_SECONDS
    assert refused.headers["x-should-retry"] == "false"
    assert ask(address, KEYS["BOB_KEY"]).status_code == 200
    assert (kept.usage.today("ada").requests, kept.usage.today("bob").requests) == (2, 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("limit", "price"), [({"tokens_per_day": 5}, 0), ({"dollars_per_day": 0.5}, 100_000)])
def test_tokens_and_dollars_of_answers_are_counted(served, users, limit, price, stream):
    prices = ", ".join(f"{tier}: [{price}, {price}]" for tier in ("fast", "coding", "reasoning", "cheap", "fallback"))
    kept = users(**limit)
    address = served(f"provider.scripted.price={{{prices}}}", users=kept)
    assert [ask(address, KEYS["ADA_KEY"], stream=stream).status_code for _ in range(2)] == [200, 429]
    assert kept.usage.today("ada").tokens > 5
    assert (kept.usage.today("ada").dollars > 0.5) is bool(price)


def test_a_new_day_is_a_new_budget(tmp_path):
    now = [10 * DAY_SECONDS - 1.0]
    store = UsageStore(tmp_path / "usage.sqlite3", clock=lambda: now[0])
    user = User(name="ada", requests_per_day=1, tokens_per_day=None, dollars_per_day=None)
    assert [store.enter(user), store.enter(user)] == [None, "1 requests"]
    assert store.seconds_left() == 2
    now[0] += 1
    assert store.enter(user) is None
    store.leave(user, tokens=7, dollars=None)
    assert (store.today("ada").tokens, store.today("ada").unpriced) == (7, 1)
    store.close()


COUNT = """
import sys
from hafs.server.users import UsageStore, User
from pathlib import Path
store = UsageStore(Path(sys.argv[1]))
user = User(name="ada", requests_per_day=500, tokens_per_day=None, dollars_per_day=None)
print(sum(store.enter(user) is None for _ in range(200)))
"""


def test_four_processes_admit_exactly_as_many_as_the_limit_says(tmp_path):
    command = [sys.executable, "-c", COUNT, str(tmp_path / "usage.sqlite3")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 500


def test_users_without_keys_and_shared_keys_are_refused(monkeypatch, users, tmp_path):
    monkeypatch.setenv("BOB_KEY", KEYS["ADA_KEY"])
    with pytest.raises(ConfigError, match="key of another user"):
        users()
    monkeypatch.setenv("ADA_KEY", "short")
    with pytest.raises(ConfigError, match="ADA_KEY has 5 characters"):
        users()


def test_prometheus_and_the_access_log_tell_who_answered_what_and_no_text(served, users, tmp_path):
    log = tmp_path / "access.jsonl"
    address = served(users=users(), access_log=str(log))
    for stream in (False, True):
        ask(address, KEYS["ADA_KEY"], stream=stream)
    ask(address, "wrong")
    httpx.get(f"{address}/nowhere")
    figures = httpx.get(f"{address}/metrics", headers={"x-api-key": KEYS["ADA_KEY"]}).text
    assert 'hafs_requests_total{path="/v1/chat/completions",status="200"} 2.0' in figures
    assert 'hafs_requests_total{path="other",status="404"} 1.0' in figures
    assert 'hafs_provider_calls_total{outcome="answered",provider="scripted"} 2.0' in figures
    assert 'hafs_expert_answers_total{expert="asm",outcome="answered"} 2.0' in figures
    assert "hafs_requests_in_progress 0.0" in figures
    assert httpx.get(f"{address}/metrics").status_code == 401
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines] == [200, 200, 401, 404, 200, 401]
    assert lines[0] | {"time": 0, "seconds": 0, "receipt": 0} == {
        "time": 0, "seconds": 0, "receipt": 0, "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "model": "hafs-council", "stream": False, "user": "ada", "answered_by": "asm=scripted/scripted",
        "tokens": lines[1]["tokens"], "cost": 0,
    }  # fmt: skip
    assert "lda" not in log.read_text()
    assert KEYS["ADA_KEY"] not in log.read_text()


def test_an_equal_request_is_answered_from_memory_and_costs_nothing(seat):
    council = seat().model_copy(update={"cache": AnswerCache(maxsize=2)})
    limits = RequestLimits(max_body_bytes=10_000, max_requests=8)
    with listening(application(council, token=None, limits=limits)) as address:
        first, second, other = ask(address), ask(address), ask(address, temperature=0.5)
    assert [got.json()["receipt"].get("cached", False) for got in (first, second, other)] == [False, True, False]
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["receipt"]["cost"] == 0


def test_receipts_are_tidied_by_age_and_count(tmp_path):
    now = 1_800_000_000.0
    for age in range(10):
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now - age * 86_400))
        (tmp_path / f"{stamp}-{age:012x}.json").write_text("{}")
    (tmp_path / "notes.json").write_text("mine")
    assert tidy(tmp_path, days=7.5, most=None, now=now) == 2
    assert tidy(tmp_path, days=None, most=5, now=now) == 3
    assert sorted(int(path.stem.split("-")[1], 16) for path in tmp_path.glob("2*.json")) == [0, 1, 2, 3, 4]
    assert (tmp_path / "notes.json").exists()
    assert tidy(tmp_path / "missing", days=1, most=1) == 0


@pytest.mark.long
def test_two_processes_share_a_port_a_budget_and_the_figures(tmp_path):
    env = {**os.environ, **KEYS, "HAFS_STATE": str(tmp_path / "state")}
    users = "users={ada: {key_env: ADA_KEY, requests_per_day: 30, tokens_per_day: null, dollars_per_day: null}}"
    words = ["--workers", "2", "provider=scripted", "router=keyword", "port=0", "receipts=null", users]
    with subprocess.Popen(
        [sys.executable, "-m", "hafs", "serve", *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().split()[2].removesuffix("/v1")
            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(lambda _: ask(address, KEYS["ADA_KEY"]).status_code, range(40)))
            assert (statuses.count(200), statuses.count(429)) == (30, 10)
            figures = httpx.get(f"{address}/metrics", headers={"x-api-key": KEYS["ADA_KEY"]}).text
            counted = re.findall(r'hafs_requests_total\{path="/v1/chat/completions",status="(\d+)"\} ([\d.]+)', figures)
            assert dict(counted) == {"200": "30.0", "429": "10.0"}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_several_processes_with_a_base_of_their_own_are_refused(tmp_path):
    words = ["workers=2", "provider=local", "router=keyword", "port=0", "expert=general"]
    out = subprocess.run(
        [sys.executable, "-m", "hafs", "serve", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 2
    assert "would load the base of provider=local 2 times" in out.stderr
