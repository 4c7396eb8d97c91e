"""Two processes of one run: a signal to one or to both, and the death of one, end in 75 and continue bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
import tiny_runs
from harness import TORMENTED, Started, assert_same, events, outcome, said, seeded, train
from tiny_runs import adapter

from hafs.training.ranks import _free_port

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
CONTINUES = "; nothing is lost\n-> the same command continues"


class Pair(Started):
    """A run on two devices; its second process may be signalled too."""

    def __init__(self, folder, *words):
        super().__init__(folder, *TWO, *words)

    def other(self):
        """The second process; None before it is there."""
        try:
            children = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return None
        return next((child for child in children if "hafs.train" in _words(child)), None)

    def until_both_are_there(self):
        self.until(self.other, 120)
        return self.other()


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def gone(process, seconds=30):
    """Whether a process has ended within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def amid_a_step(rows, steps=3):
    """Both processes, after some steps."""
    pair, reached = Pair(rows), len(events(rows / "outputs/run", "step"))
    other = pair.until_both_are_there()
    pair.until(lambda: len(events(rows / "outputs/run", "step")) >= reached + steps, 120)
    return pair, other


def test_a_signal_to_one_process_stops_both_and_the_death_of_one_stops_the_other(rows):
    pair, other = amid_a_step(rows, 2)
    other.send_signal(signal.SIGTERM)
    assert pair.ended(60) == 75, said(rows)[-3000:]
    assert gone(other, 5)
    run = rows / "outputs/run"
    assert events(run, "saved")[-1]["total"] == events(run, "step")[-1]["total"] + 1
    pair, other = amid_a_step(rows, 1)
    killed = time.monotonic()
    other.kill()
    assert pair.ended(30) == 75, said(rows)[-3000:]
    assert time.monotonic() - killed < 30
    assert said(rows).count(CONTINUES) == 2
    assert "Traceback" not in said(rows)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_death_of_the_first_process_leaves_no_orphan(rows):
    pair, other = amid_a_step(rows, 1)
    pair.kill()
    assert gone(other, 30)


def test_the_death_of_the_first_process_before_the_second_has_begun_leaves_no_orphan(rows):
    pair = Pair(rows)
    other = pair.until_both_are_there()
    pair.kill()
    assert gone(other, 60)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_fifty_signals_and_kills_over_two_processes_change_nothing(rows):
    assert train(rows, *TWO, "name=whole") == 0, said(rows)[-3000:]
    undisturbed = outcome(rows / "outputs/whole")
    accidents = seeded(random.randrange(2**32))
    done = generation = 0
    while done < 50:
        name, generation, code = f"run{generation}", generation + 1, None
        while code != 0:
            before, pair = len(said(rows)), Pair(rows, f"name={name}")
            other = pair.until_both_are_there()
            time.sleep(accidents.uniform(0, 25))
            number, whom = accidents.choice((*SIGNALS, signal.SIGKILL)), accidents.choice(("first", "other", "both"))
            if done < 50 and other is not None and pair.alive():
                _send(number, pair, other, whom)
                done += 1
            code = pair.ended(120)
            told = said(rows)[before:]
            killed = number == signal.SIGKILL and whom != "other"
            assert code in (0, 75) or (killed and code == -9), (number, whom, told)
            assert other is None or gone(other, 60), (number, whom)
            assert "Traceback" not in told, (number, whom, told)
        assert_same(rows / "outputs" / name, undisturbed)


def _send(number, pair, other, whom):
    for pid in [pair.pid] * (whom != "other") + [other.pid] * (whom != "first"):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def without_dropout(rows, *words):
    """A run that differs by rounding alone; at a full rate, Adam's first steps enlarge it where gradients are tiny."""
    slowly = [f"stage.{stage}.warmup_steps=10" for stage in ("warmup", "main", "cooldown")]
    words = tiny_runs.with_common("adapter.lora_dropout=0.0", *words, common=slowly)
    return train(rows, *words), said(rows)[-3000:]


def difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_a_run_continues_on_another_number_of_devices(rows):
    code, told = without_dropout(rows, "name=whole", "trainer=cpu")
    assert code == 0, told
    run = rows / "outputs/run"
    assert without_dropout(rows, *TWO, "callbacks.checkpoint.every_steps=1", "stage=warmup")[0] == 0
    code, told = without_dropout(rows, "trainer=cpu", "stage=warmup,main,cooldown")
    assert code == 0, told
    assert "devices    trainer.devices: 2 -> 1; trainer.strategy: ddp -> auto: the same steps up to rounding" in told
    assert events(run, "devices_changed")
    assert (
        difference(adapter(run), adapter(rows / "outputs/whole")) < 1e-6
    )  # a float32 of 0.05 has steps of 4e-9; twelve updates of Adam


def torchrun(rows, *words, name, nodes=1):
    """Runs to the end under a launcher for each node; the exit codes."""
    script = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        str(nodes),
        "--nproc-per-node",
        str(2 // nodes),
    ]
    script += ["--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    words = tiny_runs.with_common(*TWO[:2], f"trainer.devices={2 // nodes}", *words, f"name={name}", common=TORMENTED)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    launchers = [
        subprocess.Popen([*script, "--node-rank", str(node), "-m", "hafs.train", *words], cwd=rows, env=environ)
        for node in range(nodes)
    ]
    return [launcher.wait(300) for launcher in launchers]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_launcher_on_one_node_or_two_gives_what_hafs_alone_gives(rows):
    assert train(rows, *TWO, "name=whole") == 0, said(rows)[-3000:]
    whole = outcome(rows / "outputs/whole")
    assert torchrun(rows, name="launched") == [0]
    assert_same(rows / "outputs/launched", whole)
    assert torchrun(rows, "trainer.num_nodes=2", name="nodes", nodes=2) == [0, 0]
    assert_same(rows / "outputs/nodes", whole)
