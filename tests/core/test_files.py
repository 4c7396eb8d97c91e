"""Files and folders that hafs commits: complete or not there, and damaged ones are seen."""

import os
import threading

import pytest

from hafs.core import durable, records


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_draft_replaces_the_file_when_its_block_ends_well(tmp_path):
    path = tmp_path / "file"
    for text in ("old", "new"):
        with durable.drafted(path) as draft:
            draft.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_the_old_file_and_no_draft(tmp_path, error):
    durable.write_text(tmp_path / "file", "old")
    with pytest.raises(error), durable.drafted(tmp_path / "file") as draft:
        draft.write_text("half")
        raise error
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_threads_that_write_the_same_file_do_not_meet_in_one_draft(tmp_path):
    texts = [str(n) * 5000 for n in range(8)]

    def write(text):
        for _ in range(20):
            durable.write_text(tmp_path / "file", text, sync=False)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "file").exists():
            assert (tmp_path / "file").read_text() in texts
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("fast", [False, True])
def test_a_folder_is_compared_with_its_manifest_as_a_whole_or_in_part(tmp_path, fast):
    def write(draft):
        (draft / "a").write_bytes(b"one")
        (draft / "deep").mkdir()
        (draft / "deep/b").write_bytes(b"two")

    folder = durable.commit(tmp_path / "folder", write, fast=fast)
    assert set(durable.verify(folder)) == {"a", "deep/b"}
    (folder / "deep/b").write_bytes(b"twx")
    assert durable.verify(folder, "a")
    with pytest.raises(durable.Damaged, match="the bytes of b do not match"):
        durable.verify(folder)
    with pytest.raises(durable.Damaged, match="manifest is not readable"):
        durable.verify(folder, "c")


def test_drafts_of_killed_writers_go_with_the_next_sweep_of_their_own(tmp_path):
    for name in (".draft-mine-1-0", ".draft-mine.json-1-0", ".draft-other-1-0"):
        (tmp_path / name).write_text("")
    (tmp_path / ".doomed-mine-7").mkdir()
    durable.drop_drafts(tmp_path / "mine")
    assert names(tmp_path) == [".draft-mine.json-1-0", ".draft-other-1-0"]


DAMAGES = [lambda b: b"", lambda b: b[:40], lambda b: b[:-1], lambda b: b"null", lambda b: os.urandom(len(b))]
DAMAGES += [lambda b, at=at: b[:at] + bytes([b[at] ^ 1]) + b[at + 1 :] for at in (0, 7, -40, -2)]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["record", "sealed"])
def test_damage_to_a_file_that_carries_its_checksum_is_seen(tmp_path, kind, damage):
    path = tmp_path / "file"
    if kind == "record":
        facts = {"a": [1, 2.5, None], "ü": {"nested": "text"}}
        records.write_record(path, facts)
        read, content = records.read_record, facts
    else:
        content = bytes(range(200))
        records.write_sealed(path, content)
        read = records.read_sealed
    assert read(path) == content
    path.write_bytes(damage(path.read_bytes()))
    try:
        assert read(path) == content  # white space of JSON
    except records.Damaged:
        path.unlink()
    assert read(tmp_path / "gone") is None


def test_damage_is_said_once_per_process(tmp_path, capfd):
    for _ in range(3):
        records.say_damaged(tmp_path / "file", records.CHECKSUM, "it is made again")
    assert capfd.readouterr().err == f"{tmp_path}/file is damaged (it has no valid checksum); it is made again\n"
