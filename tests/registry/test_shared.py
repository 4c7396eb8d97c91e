"""A registry of a group: its users read what each other registered; what is kept with a model is looked at."""

import os
import stat

import pytest

from hafs.core import durable
from hafs.registry.registry import Registry, RegistryError

REGISTRY_GROUP = 0o2775


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def registered(folder, make, around=REGISTRY_GROUP):
    folder.mkdir()
    folder.chmod(around)
    registry = Registry.open(folder / "registry.toml")
    record, write = make("hyrule-asm-v1")

    def as_libraries_do(draft):
        write(draft)
        (draft / "held_out.jsonl").write_text("{}\n")
        (draft / "adapter_model.safetensors").chmod(0o600)

    return registry, registry.add(record, as_libraries_do)


@pytest.mark.parametrize(("around", "file"), [(0o2775, 0o664), (0o755, 0o644), (0o750, 0o640), (0o700, 0o600)])
def test_files_are_readable_as_the_folder_says(tmp_path, make, around, file):
    before = os.umask(0o022)
    try:
        registry, record = registered(tmp_path / "shared", make, around)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"registry.toml", "lock", "adapter_model.safetensors", "MANIFEST.json"}
    assert {path.name: oct(mode(path)) for path in files} == {path.name: oct(file) for path in files}
    folders = [path for path in (tmp_path / "shared").rglob("*") if path.is_dir()]
    assert {oct(mode(folder)) for folder in folders} == {oct(around)}
    assert registry.verified(record)


def test_a_world_writable_folder_gets_no_world_writable_file(tmp_path):
    tmp_path.chmod(0o1777)
    durable.write_text(tmp_path / "a.json", "{}")
    durable.commit(tmp_path / "folder", lambda draft: (draft / "b").write_text(""))
    assert not any(mode(path) & 0o002 for path in [*tmp_path.rglob("*")])


@pytest.mark.parametrize("name", ["held_out.jsonl", "MANIFEST.json"])
@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b""), lambda p: p.unlink(), lambda p: p.write_text("null")])
def test_what_is_kept_with_a_model_is_looked_at_before_it_is_used(tmp_path, make, name, damage):
    registry, record = registered(tmp_path / "shared", make)
    assert registry.whole(record)
    damage(registry.verified(record) / name)
    with pytest.raises(RegistryError, match=r"files of 'hyrule-asm-v1' in .* are damaged") as error:
        registry.whole(record)
    assert "under=hyrule-asm-v1" in error.value.hint
    assert registry.verified(record)  # its adapter is whole, so it answers


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_file_of_another_user_is_refused_in_one_line(tmp_path, make):
    registry, record = registered(tmp_path / "shared", make)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o005)
    (registry.verified(record) / "adapter_model.safetensors").chmod(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(RegistryError, match="cannot be read: Permission denied"):
            registry.verified(record)
    finally:
        os.seteuid(0)
