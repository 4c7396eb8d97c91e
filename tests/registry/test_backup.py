"""Backups by the real rclone, where it is installed."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from test_registration import go, make_run
from tiny_runs import write_rows

from hafs.commands import backup, register, restore
from hafs.core import durable, records
from hafs.core.errors import HafsError
from hafs.registry.backup import remote
from hafs.registry.registry import Registry

rclone = pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")


@pytest.fixture
def registered(here, monkeypatch):
    """A registered model, its run and its data."""
    monkeypatch.setenv("RCLONE_CONFIG", str(here / "rclone.conf"))
    (here / "rclone.conf").touch()
    write_rows(here / "rows.jsonl")
    make_run(here)
    go(register, "name=hyrule-asm-v1")
    return here


def digests(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lose(here):
    shutil.rmtree(here / "mine")
    (here / "mine.toml").unlink()


@rclone
def test_a_restored_model_has_every_byte_and_record(registered, capsys):
    go(backup, "target=disk")
    (kept,) = registered.glob("disk/datasets/rows/*/rows.jsonl")
    assert kept.read_bytes() == (registered / "rows.jsonl").read_bytes()
    assert (registered / "disk/runs/hyrule-asm-v1/run.json").exists()
    assert not (registered / "disk/runs/hyrule-asm-v1/checkpoints").exists()
    before, record = digests(registered / "mine/hyrule-asm-v1"), Registry.open("mine.toml").get("hyrule-asm-v1")
    lose(registered)
    go(restore, "target=disk", "names=hyrule-asm-v1")
    assert digests(registered / "mine/hyrule-asm-v1") == before
    assert Registry.open("mine.toml").get("hyrule-asm-v1") == record
    assert "restored, candidate" in capsys.readouterr().out


@rclone
def test_later_rows_of_the_same_name_replace_none_of_an_earlier_model(registered, capsys):
    rows = registered / "rows.jsonl"
    first = rows.read_bytes()
    go(backup, "target=disk")
    rows.write_bytes(first + b'{"instruction": "more", "output": "rows"}\n')
    second, run = rows.read_bytes(), make_run(registered, "hyrule-asm-v2", seed=2)
    records.write_record(run / "data_report.json", {"files": {"rows.jsonl": durable.hash_file(rows)}})
    go(register, "name=hyrule-asm-v2")
    go(backup, "target=disk", "names=hyrule-asm-v2")
    rows.write_bytes(b"not what either was trained on")
    capsys.readouterr()
    go(backup, "target=disk", "names=hyrule-asm-v2")
    assert "rows.jsonl is gone or has changed since the training" in capsys.readouterr().out
    kept = {path.read_bytes() for path in registered.glob("disk/datasets/rows/*/rows.jsonl")}
    assert kept == {first, second}


@rclone
def test_a_mixture_is_restored_with_its_experts(registered, capsys):
    go(register, "mixture=triforce-moe", "of=[hyrule-asm-v1]")
    go(backup, "target=disk", "names=triforce-moe-v1")
    before = Registry.open("mine.toml").entries()
    lose(registered)
    go(restore, "target=disk", "names=triforce-moe-v1")
    assert Registry.open("mine.toml").entries() == before
    said = capsys.readouterr().out
    assert "hyrule-asm-v1: restored" in said and "triforce-moe-v1: restored" in said
    with pytest.raises(HafsError, match="there is no model") as unknown:
        go(restore, "target=disk", "names=triforce-moe-v7")
    assert unknown.value.hint == "it contains hyrule-asm-v1, triforce-moe-v1"


@rclone
def test_what_a_model_was_made_from_comes_back_with_it(registered):
    make_run(registered, "hyrule-asm-v2", seed=2)
    go(register, "name=hyrule-asm-v2", "parents=[hyrule-asm-v1]")
    go(backup, "target=disk")
    lose(registered)
    go(restore, "target=disk", "names=hyrule-asm-v2")
    assert list(Registry.open("mine.toml").entries()) == ["hyrule-asm-v1", "hyrule-asm-v2"]


@rclone
def test_an_empty_registry_is_not_backed_up_in_silence(registered):
    lose(registered)
    with pytest.raises(HafsError, match="there is nothing to back up"):
        go(backup, "target=disk")


@rclone
def test_a_second_backup_copies_nothing_and_deletes_nothing_unless_asked(registered):
    go(backup, "target=disk")
    copied = [p for p in (registered / "disk").rglob("*") if p.is_file() and p.name != "record.toml"]
    inodes = {p: p.stat().st_ino for p in copied}
    (registered / "disk/models/hyrule-asm-v1/extra").write_text("x")
    go(backup, "target=disk")
    assert {p: p.stat().st_ino for p in copied} == inodes
    assert (registered / "disk/models/hyrule-asm-v1/extra").exists()
    go(backup, "target=disk", "delete=true")
    assert not (registered / "disk/models/hyrule-asm-v1/extra").exists()


@rclone
def test_a_damaged_backup_is_not_restored_and_a_new_backup_fixes_it(registered):
    go(backup, "target=disk")
    tensors = registered / "disk/models/hyrule-asm-v1/adapter_model.safetensors"
    good = tensors.read_bytes()
    tensors.write_bytes(good[:-1] + b"?")
    kept, here = registered / "mine.toml", registered / "mine"
    kept.rename(registered / "kept.toml"), here.rename(registered / "kept")
    with pytest.raises(HafsError, match="incomplete or damaged: the bytes of adapter_model"):
        go(restore, "target=disk", "names=hyrule-asm-v1")
    assert not kept.exists()
    shutil.rmtree(here)
    (registered / "kept.toml").rename(kept), (registered / "kept").rename(here)
    go(backup, "target=disk")
    assert tensors.read_bytes() == good


@rclone
def test_other_bytes_of_the_same_name_at_the_target_stay(registered):
    go(backup, "target=disk")
    before = digests(registered / "disk")
    lose(registered)
    shutil.rmtree(registered / "outputs")
    make_run(registered, seed=9)
    go(register, "name=hyrule-asm-v1")
    with pytest.raises(HafsError, match="another model named"):
        go(backup, "target=disk")
    assert digests(registered / "disk") == before
    with pytest.raises(HafsError, match="names are immutable"):
        go(restore, "target=disk", "names=hyrule-asm-v1")


@rclone
def test_the_in_memory_remote_without_hashes_is_verified_byte_by_byte(registered, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["rclone", "serve", "webdav", ":memory:", "--addr", f"127.0.0.1:{port}"]
    server = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("RCLONE_CONFIG_MEM_TYPE", "webdav")
        monkeypatch.setenv("RCLONE_CONFIG_MEM_URL", f"http://127.0.0.1:{port}")
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        go(backup, "target='mem:hafs'", "names=hyrule-asm-v1")
        before = digests(registered / "mine/hyrule-asm-v1")
        lose(registered)
        go(restore, "target='mem:hafs'", "names=hyrule-asm-v1")
        assert digests(registered / "mine/hyrule-asm-v1") == before
    finally:
        server.terminate()
        server.wait(timeout=20)


@rclone
def test_a_transfer_killed_halfway_resumes_and_never_counts_as_complete(registered, monkeypatch):
    model = registered / "mine/hyrule-asm-v1"
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.name != durable.MANIFEST}
    files["big.bin"] = os.urandom(6 << 20)
    durable.commit(model, lambda draft: [(draft / name).write_bytes(data) for name, data in files.items()])
    real = subprocess.run

    def killed(words, **options):
        if words[1] != "copy" or not any("hyrule-asm-v1" in word for word in words[2:4]):
            return real(words, **options)
        slowly = [*words, "--bwlimit", "2M", "--transfers", "1"]
        process = subprocess.Popen(slowly, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.5)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    monkeypatch.setattr(remote.subprocess, "run", killed)
    with pytest.raises(HafsError, match=r"^rclone copy .* failed"):
        go(backup, "target=disk")
    monkeypatch.setattr(remote.subprocess, "run", real)
    with pytest.raises(HafsError, match="there is no model"):
        go(restore, "target=disk", "names=hyrule-asm-v1")
    go(backup, "target=disk")
    assert (registered / "disk/models/hyrule-asm-v1/big.bin").read_bytes() == files["big.bin"]


def test_a_missing_rclone_is_said_in_one_line(registered, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HafsError, match="need rclone, which is not installed") as missing:
        go(backup, "target=disk")
    assert missing.value.exit_code == 2


@rclone
@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (backup, [], "is not a valid target"),
        (backup, ["target=-x"], "is not a valid target"),
        (backup, ["target=disk", "names=nothing"], "is not in the registry"),
        (backup, ["target='nowhere:x'"], "nowhere:x cannot be read: didn't find section"),
        (restore, ["target=disk"], "no model was given"),
        (restore, ["target=disk", "names=hyrule-asm-v7"], "there is no model"),
        (restore, ["target='nowhere:x'", "names=hyrule-asm-v1"], "nowhere:x cannot be read: didn't find section"),
        (restore, ["target=disk", "names=../x"], "is not a model name"),
    ],
)
def test_bad_words_get_one_line(registered, command, words, said):
    with pytest.raises(HafsError, match=said) as wrong:
        go(command, *words)
    assert wrong.value.exit_code == 2 and "\n" not in wrong.value.fact
