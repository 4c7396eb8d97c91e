"""Every file that hafs writes, damaged: made again and said, refused in one line, or only there to inform.

The files are found by running everything once, so a file of a new kind has no fate here and fails the test that counts
them. Under each fate the command that reads the file ends well or with a user error, never as a bug in hafs.
"""

import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

import everything
import pytest
from everything import EVALUATE, HALF, NAME, PLAN, VALIDATE, WHOLE, copy, forget, go, home

from hafs.core.errors import USER_CAN_FIX, HafsError


def cut(path):
    os.truncate(path, min(100, path.stat().st_size // 2))


def flip(path):
    """One bit, in the middle; size and times stay."""
    if not path.stat().st_size:
        return
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "100 bytes": cut,
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "random": lambda path: path.write_bytes(os.urandom(max(1, path.stat().st_size))),
    "null": lambda path: path.write_text("null"),
    "flipped": flip,
    "gone": lambda path: path.unlink(),
}


def adapter():
    from hafs.registry.registry import production

    return production("tiny-asm")


def exported():
    from hafs.registry.export.source import source
    from hafs.registry.registry import Registry

    return source(Registry.open(), NAME)


def dashboard():
    from hafs.runs import report
    from hafs.runs.history import JournalReader, chosen

    for folder in (*chosen([], [Path("outputs")]), Path("outputs/run"), Path("outputs/half")):
        journal = JournalReader(folder)
        journal.follow()
        if journal.history.last_time:
            report.write(folder)


READERS = {
    "plan": lambda: go("plan", *PLAN),
    "validate": lambda: go("validate", *VALIDATE),
    "train": lambda: go("train", *WHOLE),
    "continue": lambda: go("train", *HALF),
    "evaluate": lambda: go("evaluate", *EVALUATE[:1], "max_new_tokens=0", *EVALUATE[2:]),
    "register": lambda: go("register", "name=run", f"under={NAME}"),
    "models": lambda: go("models"),
    "show": lambda: go("models", f"what=show {NAME}"),
    "export": exported,
    "adapter": adapter,
    "dashboard": dashboard,
    "load": lambda: everything.tiny().tokenizer(),
    "serve": everything.served,
    "route": everything.routed,
    "count": everything.counted,
    "hash": everything.hashed,
    "ask": everything.asked,
}
HEALED, REFUSED, INFORMS, EDITED = "healed", "refused", "informs", "people edit it"
FATES = {
    "cache/models/*.lock": (INFORMS, "load"),
    "cache/models/*/*": (HEALED, "load"),
    "cache/gguf/lock": (INFORMS, "serve"),
    "cache/gguf/*.gguf": (HEALED, "serve"),
    "cache/gguf/*.gguf.json": (HEALED, "serve"),
    "cache/hashes/*.json": (HEALED, "hash"),
    "cache/datasets/sizes/*.json": (HEALED, "plan"),
    "cache/datasets/*.lock": (INFORMS, "validate"),
    "cache/datasets/*/*": (HEALED, "validate", "train"),
    "cache/router/*": (HEALED, "route"),
    "cache/shapes/*.json": (HEALED, "plan"),
    "state/calibration.json": (HEALED, "plan"),
    "state/quota.json": (HEALED, "count"),
    "state/quota.lock": (INFORMS, "count"),
    "shared/registry.toml": (EDITED, "models"),
    "shared/registry/lock": (INFORMS, "register"),
    "shared/registry/backups/*.toml": (INFORMS, "models"),
    "shared/registry/*/adapter_*": (REFUSED, "adapter"),
    "shared/registry/*/*": (REFUSED, "show", "export"),
    "work/outputs/*/.lock": (INFORMS, "train"),
    "work/outputs/half/checkpoints/step-00000004/*": (HEALED, "continue"),
    "work/outputs/half/checkpoints/*/*": (INFORMS, "continue"),
    "work/outputs/half/stages/**": (REFUSED, "continue"),
    "work/outputs/half/run.json": (REFUSED, "continue"),
    "work/outputs/half/events.jsonl": (INFORMS, "dashboard", "continue"),
    "work/outputs/run/run.json": (REFUSED, "evaluate", "register", "train"),
    "work/outputs/run/adapter/*": (REFUSED, "evaluate", "register"),
    "work/outputs/run/stages/**": (REFUSED, "train"),
    "work/outputs/run/events.jsonl": (INFORMS, "dashboard", "evaluate", "train"),
    "work/outputs/run/evaluation.json": (REFUSED, "register"),
    "work/outputs/run/summary.json": (HEALED, "register"),
    "work/outputs/run/data_report.json": (HEALED, "register"),
    "work/outputs/*/data_report.json": (INFORMS, "dashboard"),
    "work/outputs/*/*.html": (INFORMS, "dashboard"),
    "work/outputs/*/rejected.jsonl": (INFORMS, "register"),
    "work/outputs/run/evaluation_rows.jsonl": (INFORMS, "register"),
    "work/outputs/run/logs/**": (INFORMS, "dashboard"),
    "work/outputs/council/*.json": (INFORMS, "ask"),
    "work/report/*": (INFORMS, "validate"),
}
"""What happens to a damaged file, and the commands that show it; the first pattern that fits counts."""
NOT_OURS = ("work/rows.jsonl", "work/own/*")
SHORT = ("100 bytes", "empty", "null", "flipped", "gone")
"""Damages of the default run."""
QUICK = {"plan", "validate", "models", "show", "adapter", "dashboard", "load", "serve", "route", "count", "hash"}
"""Readers that take less than a second; the others run with one damage by default."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Where hafs lived, and an untouched copy of it."""
    base, spare = tmp_path_factory.mktemp("lived"), tmp_path_factory.mktemp("spare")
    with pytest.MonkeyPatch.context() as patch:
        everything.live(base, patch)
    copy(base, spare)
    return base, spare


@pytest.fixture
def again(lived, monkeypatch):
    """The folder as it was, however often it is asked for."""
    base, spare = lived

    def restored():
        os.chdir(spare)
        shutil.rmtree(base)
        copy(spare, base)
        os.chdir(base / "work")
        forget()
        return base

    with home(base, monkeypatch):
        yield restored


def files_in(base):
    found = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
    return [name for name in found if not any(fnmatch(name, pattern) for pattern in NOT_OURS)]


def pattern_of(name):
    return next((pattern for pattern in FATES if fnmatch(name, pattern)), None)


def test_every_file_that_is_written_is_listed_and_every_listed_file_is_written(lived):
    names = files_in(lived[1])
    assert [name for name in names if pattern_of(name) is None] == []
    assert set(FATES) - {pattern_of(name) for name in names} == set()
    drafts = [name for name in names if any(mark in name for mark in (".draft", ".aside", ".doomed"))]
    assert drafts == []


def ended(reader, capfd):
    """How a command ended, and what it said on stderr."""
    capfd.readouterr()
    try:
        READERS[reader]()
        code, said = 0, ""
    except HafsError as error:
        code, said = error.exit_code, str(error)
        assert "\n" not in error.fact
    out, err = capfd.readouterr()
    return code, said, out + err


def suffer(base, name, damage, reader, fate, capfd):
    """Damage one file and read it: what is wrong with how hafs took it, in words; empty if nothing is."""
    path = base / name
    before = path.read_bytes()
    DAMAGES[damage](path)
    if path.exists() and path.read_bytes() == before:
        return ""  # it was empty
    code, refusal, said = ended(reader, capfd)
    if code not in (0, USER_CAN_FIX):
        return f"exit {code}: {refusal}"
    told = "damaged" in said or "damaged" in refusal
    if fate == HEALED:
        if code:
            return f"refused: {refusal}"
        return "" if told or damage == "gone" else "made again without a word"
    if fate == EDITED:
        return ""  # another value is a person's wish
    if fate == REFUSED:
        return "" if code == USER_CAN_FIX else "taken as it is"
    return f"refused: {refusal}" if code else ""


def everything_wrong(pattern, lived, again, capfd, *, long):
    names = [name for name in files_in(lived[1]) if pattern_of(name) == pattern]
    fate, *readers = FATES[pattern]
    wrong = {}
    for reader in readers if long else readers[:1]:
        for name in names if long else names[:1]:
            for damage in DAMAGES if long else SHORT if reader in QUICK else SHORT[:1]:
                if found := suffer(again(), name, damage, reader, fate, capfd):
                    wrong[name, damage, reader] = found
    return wrong


@pytest.mark.parametrize("pattern", [p for p, (fate, first, *_) in FATES.items() if fate != INFORMS or first in QUICK])
def test_a_damaged_file_is_rebuilt_rejected_or_ignored(pattern, lived, again, capfd):
    assert everything_wrong(pattern, lived, again, capfd, long=False) == {}


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("pattern", FATES)
def test_every_file_of_a_kind_is_handled_alike_under_every_damage_and_command(pattern, lived, again, capfd):
    assert everything_wrong(pattern, lived, again, capfd, long=True) == {}


def test_a_plan_works_with_a_home_folder_that_cannot_be_written(again, monkeypatch, capfd):
    again()
    for name in ("HOME", "HAFS_CACHE", "HAFS_STATE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/proc/nobody")  # nothing can be made there
    READERS["plan"]()
    assert "feasible" in capfd.readouterr().out
