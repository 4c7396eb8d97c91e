"""Many writers, killed writers, damaged files."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hafs.core.errors import HafsError
from hafs.registry.registry import Registry
from hafs.registry.store import END, KEPT

WRITER = [sys.executable, str(Path(__file__).with_name("writer.py"))]


def start(path, who, count):
    words = [*WRITER, str(path), str(who), str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def all_there(path, said):
    registry = Registry.open(path)
    entries = registry.entries()
    assert set(said) <= set(entries)
    for name in said:
        assert registry.adapter(name).joinpath("adapter_model.safetensors").read_bytes() == name.encode() * 100


@pytest.mark.timeout(200)
def test_twenty_concurrent_writers_lose_nothing(tmp_path):
    path = tmp_path / "registry.toml"
    words = [*WRITER, str(path), "c", "2", "20"]
    crowd = subprocess.run(words, check=False, capture_output=True, text=True, timeout=180)
    assert crowd.returncode == 0, crowd.stderr
    said = crowd.stdout.split()
    assert len(said) == 40
    all_there(path, said)
    assert len(Registry.open(path).entries()) == 40
    assert len(list((tmp_path / "registry/backups").glob("*.toml"))) <= KEPT


def kill_writers(tmp_path, count, most_seconds):
    path, said, chance = tmp_path / "registry.toml", [], random.Random(5)
    for round_ in range(count):
        writer = start(path, round_, 1000)
        said += [writer.stdout.readline().strip()]  # it is at work
        time.sleep(chance.uniform(0, most_seconds))
        writer.kill()
        said += writer.communicate(timeout=60)[0].split()
        Registry.open(path).entries()
        if round_ % 10 == 9:
            path = path.rename(tmp_path / f"old-{round_}.toml")  # or reading ever more of it takes all the time
            (tmp_path / "registry").rename(tmp_path / f"old-{round_}")
            path.write_text(path.read_text().replace('"registry/', f'"old-{round_}/'))
            all_there(path, [name for name in said if name])
            path, said = tmp_path / "registry.toml", []
    said = [name for name in said if name]
    if said:
        all_there(path, said)
        leftovers = [p.name for p in (*tmp_path.iterdir(), *(tmp_path / "registry").iterdir()) if p.name[0] == "."]
        with Registry.open(path).store.change():
            pass
        left = [p.name for p in (*tmp_path.iterdir(), *(tmp_path / "registry").iterdir()) if p.name[0] == "."]
        assert left == [], leftovers


def test_killed_writers_lose_nothing_that_was_said(tmp_path):
    kill_writers(tmp_path, 6, 0.5)


def test_what_a_killed_writer_left_is_dropped_and_a_neighbours_file_is_not(registry, make):
    registry.add(*make("hyrule-asm-v1", seed=1))
    drafts = [
        registry.path.with_name(f".draft-{registry.path.name}-4711"),
        registry.store.backups / ".draft-x.toml-4711",
    ]
    neighbour = registry.path.with_name(".draft-letter.txt-4711")
    for path in (*drafts, neighbour):
        path.write_text("half")
    with registry.store.change():
        pass
    assert [path.exists() for path in drafts] == [False, False]
    assert neighbour.exists()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_killed_writers_lose_nothing_that_was_said(tmp_path):
    kill_writers(tmp_path, 200, 0.4)


def halves(text):
    return {
        "torn": text[: len(text) // 2],
        "cut between tables": text[: text.index("[models.hyrule-asm-v2]")],
        "empty": "",
        "no TOML": "[[[",
        "another schema": text.replace("schema = 1", "schema = 9"),
        "a key is gone": text.replace("base_sha256", "other"),
        "another type": text.replace("passed = true", 'passed = "perhaps"'),
        "two in production": text.replace('"candidate"', '"production"'),
        "a hostile name": text.replace("models.hyrule-asm-v1", 'models."../../x"'),
        "not UTF-8": "\ud800",
    }


@pytest.mark.parametrize("how", halves("[models.hyrule-asm-v2]"))
def test_a_damaged_file_is_not_written_over_and_a_good_backup_is_named(registry, make, how):
    registry.add(*make("hyrule-asm-v1", seed=1))
    registry.add(*make("hyrule-asm-v2", seed=2))
    registry.add(*make("hyrule-asm-v3", seed=3))
    damaged = halves(registry.path.read_text())[how].encode("utf-8", "surrogatepass")
    registry.path.write_bytes(damaged)
    (registry.store.backups / "99990101T000000.0.toml").write_bytes(damaged)  # a bad backup is not named
    good = sorted(registry.store.backups.glob("*.toml"))[-2]
    for act in (registry.entries, lambda: registry.add(*make("hyrule-asm-v4", seed=4)),
                lambda: registry.promote("hyrule-asm-v1"), lambda: registry.adapter("hyrule-asm-v1")):  # fmt: skip
        with pytest.raises(HafsError, match="cannot be read") as wrong:
            act()
        assert wrong.value.exit_code == 2
        assert "\n" not in wrong.value.fact
        assert str(good) in wrong.value.hint
    assert registry.path.read_bytes() == damaged
    registry.path.write_bytes(good.read_bytes())
    assert "hyrule-asm-v2" in registry.entries()


def test_a_lost_file_is_reported_and_not_replaced_by_an_empty_one(registry, make):
    registry.add(*make("hyrule-asm-v1", seed=1))
    registry.add(*make("hyrule-asm-v2", seed=2))
    registry.path.unlink()
    with pytest.raises(HafsError, match="is missing"):
        registry.add(*make("hyrule-asm-v3", seed=3))
    assert not registry.path.exists()


def test_text_after_the_last_line_is_kept(registry, make):
    registry.add(*make("hyrule-asm-v1", seed=1))
    with registry.path.open("a") as file:
        file.write("# appended by hand\n")
    registry.promote("hyrule-asm-v1")
    text = registry.path.read_text()
    assert "# appended by hand" in text and text.splitlines()[-1] == END
