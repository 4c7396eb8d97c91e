"""The ledger: limits, backoffs and probes, over threads, processes and broken disks."""

import json
import subprocess
import sys
import threading

import pytest

from hafs.providers.quota import DAY, Ledger, Limits

NONE = {"requests_per_minute": None, "tokens_per_minute": None, "requests_per_day": None, "tokens_per_day": None}
FREE = Limits(**NONE)


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def enter(ledger, model="m", limits=FREE, account="a"):
    return ledger.enter(account, model, limits, probe_seconds=10)


def back_off(ledger, seconds=30, model="m", account="a"):
    return ledger.back_off(account, model, lambda failures: seconds * 2 ** (failures - 1), "rate_limited", "slow down")


def test_a_backoff_blocks_all_requests_then_lets_one_probe(clock):
    ledger = Ledger(None, clock=clock)
    assert enter(ledger)
    back_off(ledger)
    assert not enter(ledger)
    assert enter(ledger, model="other")
    clock.now += 31
    assert enter(ledger)
    assert not enter(ledger)
    ledger.leave("a", "m", well=True)
    assert enter(ledger)
    assert enter(ledger)


def test_a_failed_probe_doubles_the_backoff(clock):
    ledger = Ledger(None, clock=clock)
    assert back_off(ledger) == 30
    clock.now += 31
    assert enter(ledger)
    assert back_off(ledger) == 60
    assert ledger.wait("a", "m", FREE)[0] == 60


def test_failures_that_were_under_way_together_count_once(clock):
    ledger = Ledger(None, clock=clock)
    assert [back_off(ledger) for _ in range(5)] == [30] * 5


def test_a_probe_that_is_cancelled_gives_its_turn_back_and_one_that_vanishes_loses_it(clock):
    ledger = Ledger(None, clock=clock)
    back_off(ledger)
    clock.now += 31
    assert enter(ledger)
    ledger.leave("a", "m", well=False)
    assert enter(ledger)
    clock.now += 11
    assert enter(ledger)


def test_the_backoff_of_an_account_covers_all_its_models(clock):
    ledger = Ledger(None, clock=clock)
    back_off(ledger, model=None)
    assert not enter(ledger)
    assert not enter(ledger, model="other")
    assert enter(ledger, account="b")


def test_no_backoff_lasts_for_years(clock):
    ledger = Ledger(None, clock=clock)
    assert back_off(ledger, seconds=1e12) == DAY
    clock.now -= 10 * DAY
    assert ledger.wait("a", "m", FREE)[0] <= DAY


def test_setting_back_the_clock_restarts_a_backoff_and_never_prolongs_it(tmp_path, clock):
    path = tmp_path / "quota.json"
    ledger = Ledger(path, clock=clock)
    back_off(ledger, seconds=60)
    clock.now -= 3600
    assert Ledger(path, clock=clock).wait("a", "m", FREE)[0] == 60  # another process
    assert ledger.wait("a", "m", FREE)[0] == 60
    clock.now += 61
    assert enter(ledger)
    clock.now -= 2 * DAY  # while it tries
    assert ledger.wait("a", "m", FREE)[0] <= 60


def test_setting_back_the_clock_forgets_no_usage(tmp_path, clock):
    path, limits = tmp_path / "quota.json", Limits(**{**NONE, "requests_per_day": 2})
    for _ in range(2):
        assert enter(Ledger(path, clock=clock), limits=limits)
    clock.now -= 2 * DAY
    ledger = Ledger(path, clock=clock)
    assert not enter(ledger, limits=limits)
    assert 0 < ledger.wait("a", "m", limits)[0] <= DAY
    clock.now += DAY
    assert enter(ledger, limits=limits)


@pytest.mark.parametrize(
    ("limit", "window"), [("requests_per_minute", 60), ("requests_per_day", DAY), ("tokens_per_minute", 60)]
)
def test_a_limit_holds_until_its_window_ends(clock, limit, window):
    ledger, limits = Ledger(None, clock=clock), Limits(**{**NONE, limit: 2})
    for _ in range(2):
        assert enter(ledger, limits=limits)
        ledger.leave("a", "m", tokens=1, well=True)
    assert not enter(ledger, limits=limits)
    wait, why = ledger.wait("a", "m", limits)
    assert why == "limit"
    assert 0 < wait <= window
    clock.now += wait + 0.001
    assert enter(ledger, limits=limits)


def test_processes_share_backoffs(tmp_path):
    path = tmp_path / "quota.json"
    code = (
        "import sys; from pathlib import Path; from hafs.providers.quota import Ledger;"
        "Ledger(Path(sys.argv[1])).back_off('a', 'm', lambda n: 99, 'quota_exhausted', 'spent')"
    )
    ledger = Ledger(path)
    assert enter(ledger)
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    ledger._looked = 0
    assert ledger.wait("a", "m", FREE)[1] == "quota_exhausted"
    assert not enter(ledger)


def test_usage_of_threads_and_processes_adds_up(tmp_path):
    path = tmp_path / "quota.json"
    ledgers = [Ledger(path) for _ in range(4)]
    limits = Limits(**{**NONE, "requests_per_day": 100_000})

    def use(ledger):
        for _ in range(50):
            enter(ledger, limits=limits)
            ledger.leave("a", "m", tokens=3, well=True)

    threads = [threading.Thread(target=use, args=(ledger,)) for ledger in ledgers for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger in ledgers:
        ledger.flush()
    assert json.loads(path.read_text())["uses"]["a"][str(DAY)][1:] == [400, 1200]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"rests": {"a": {"x": 1}}, "uses": {}}', '{"rests": {}, "uses": {"a": {"60": [1]}}}']
)
def test_a_damaged_ledger_is_reported_and_replaced(tmp_path, text, capfd):
    path = tmp_path / "quota.json"
    path.write_text(text)
    ledger = Ledger(path)
    assert enter(ledger)
    assert capfd.readouterr().err.count("quota.json is damaged") == 1
    back_off(ledger)
    assert not enter(Ledger(path))


def test_what_a_process_knows_outlives_damage_to_the_file(tmp_path, clock, capfd):
    path = tmp_path / "quota.json"
    limits = Limits(**{**NONE, "requests_per_day": 2})
    ledger = Ledger(path, clock=clock)
    enter(ledger, limits=limits)
    back_off(ledger, model="other")
    path.write_text(path.read_text().replace("1", "3"))  # still JSON, with other numbers
    ledger._looked = 0
    assert enter(ledger, limits=limits)
    assert not enter(ledger, limits=limits)
    assert not enter(ledger, model="other")
    assert "has no valid checksum" in capfd.readouterr().err
    assert not enter(Ledger(path, clock=clock), limits=limits)


def test_a_ledger_that_cannot_be_written_never_stops_a_request(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "quota.json")
    assert enter(ledger)
    back_off(ledger)
    back_off(ledger, model="n")
    assert not enter(ledger)
    assert len(caplog.records) == 1


def test_accounts_of_this_process_alone_are_not_written(tmp_path):
    path = tmp_path / "quota.json"
    ledger = Ledger(path)
    back_off(ledger, account="~local")
    enter(ledger, account="~local", model="other")
    enter(ledger, account="b")
    ledger.flush()
    assert "local" not in path.read_text()
    assert not enter(ledger, account="~local")


ADMITTED = """
import sys
from pathlib import Path
from hafs.providers.quota import Ledger, Limits
limits = Limits(requests_per_minute=None, tokens_per_minute=None, requests_per_day=500, tokens_per_day=None)
ledger = Ledger(Path(sys.argv[1]))
print(sum(ledger.enter("a", "m", limits, probe_seconds=1) for _ in range(200)))
"""


def test_four_processes_admit_exactly_what_the_limit_of_an_account_says(tmp_path):
    command = [sys.executable, "-c", ADMITTED, str(tmp_path / "quota.json")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 500
