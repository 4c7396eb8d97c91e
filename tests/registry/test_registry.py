"""What is registered, under which name, and what answers."""

import pytest

from hafs.core.errors import HafsError
from hafs.registry import names
from hafs.registry.registry import Mixture, Registry, production
from hafs.registry.store import END


def test_a_registered_model_is_found_with_its_bytes_and_its_record(registry, make):
    record, write = make("hyrule-asm-v1")
    added = registry.add(record, write)
    again = Registry.open(registry.path)
    assert again.get("hyrule-asm-v1") == added
    assert again.adapter("hyrule-asm-v1").joinpath("adapter_model.safetensors").read_bytes() == b"tensors 0"
    assert again.adapter(again.adapter("hyrule-asm-v1")) == again.adapter("hyrule-asm-v1")
    assert added.metrics["perplexity"].low == -6.0


def test_comments_and_keys_of_the_user_outlive_every_change(registry, make):
    registry.add(*make("hyrule-asm-v1"))
    text = registry.path.read_text()
    mine = text.replace('specialization = "65816 assembly"', 'specialization = "DMA only"  # mine\nnote = "ask Zelda"')
    registry.path.write_text("# my registry\n" + mine)
    registry.add(*make("hyrule-asm-v2", seed=2))
    registry.promote("hyrule-asm-v1")
    registry.promote("hyrule-asm-v2")
    now = registry.path.read_text()
    for kept in ("# my registry\n", '"DMA only"  # mine', 'note = "ask Zelda"'):
        assert kept in now
    assert registry.get("hyrule-asm-v1").specialization == "DMA only"
    assert now.splitlines()[-1] == END


def test_one_version_answers_and_the_promotion_can_be_undone(registry, make, monkeypatch):
    for n in (1, 2, 3):
        registry.add(*make(f"hyrule-asm-v{n}", seed=n))
    with pytest.raises(HafsError, match="no version of 'hyrule-asm' is in production") as none:
        registry.adapter("hyrule-asm")
    assert none.value.hint == "hafs promote hyrule-asm-v3"
    assert registry.promote("hyrule-asm-v1") is None
    assert registry.promote("hyrule-asm-v2") == "hyrule-asm-v1"
    assert registry.promote("hyrule-asm-v3") == "hyrule-asm-v2"
    monkeypatch.setenv("HAFS_REGISTRY", str(registry.path))
    assert production("hyrule-asm").name == "hyrule-asm-v3"
    assert registry.revert("hyrule-asm") == ("hyrule-asm-v3", "hyrule-asm-v2")
    assert registry.revert("hyrule-asm") == ("hyrule-asm-v2", "hyrule-asm-v1")
    assert production("hyrule-asm").name == "hyrule-asm-v1"
    assert production("hyrule-asm-v3").name == "hyrule-asm-v3"
    assert {n: e.status for n, e in registry.entries().items()} == {
        "hyrule-asm-v1": "production", "hyrule-asm-v2": "retired", "hyrule-asm-v3": "retired"}  # fmt: skip
    with pytest.raises(HafsError, match="no earlier one"):
        registry.revert("hyrule-asm")


def test_a_promotion_by_hand_counts(registry, make):
    registry.add(*make("hyrule-asm-v1", seed=1))
    registry.add(*make("hyrule-asm-v2", seed=2))
    registry.path.write_text(registry.path.read_text().replace('"candidate"', '"production"', 1))
    assert registry.get("hyrule-asm").name == "hyrule-asm-v1"
    assert registry.promote("hyrule-asm-v2") == "hyrule-asm-v1"
    assert registry.revert("hyrule-asm") == ("hyrule-asm-v2", "hyrule-asm-v1")


def test_a_name_always_means_the_same_bytes(registry, make):
    registry.add(*make("hyrule-asm-v1", seed=1))
    with pytest.raises(HafsError, match="names are immutable") as refused:
        registry.add(*make("hyrule-asm-v1", seed=2))
    assert refused.value.hint == "under=hyrule-asm-v2"
    assert registry.adapter("hyrule-asm-v1").joinpath("adapter_model.safetensors").read_bytes() == b"tensors 1"
    registry.promote("hyrule-asm-v1")
    renewed = registry.add(*make("hyrule-asm-v1", seed=1, specialization="DMA"))
    assert (renewed.status, renewed.specialization) == ("production", "DMA")


def test_versions_are_proposed(registry, make):
    assert registry.propose("hyrule-asm") == "hyrule-asm-v1"
    record, write = make("hyrule-asm-v1", seed=1)
    registry.add(record, write)
    assert registry.propose("hyrule-asm") == "hyrule-asm-v2"
    assert registry.propose("hyrule-asm", record.bytes) == "hyrule-asm-v1"
    text = registry.path.read_text()
    registry.path.write_text(text[: text.index("[models")] + f"{END}\n")
    assert registry.propose("hyrule-asm") == "hyrule-asm-v2", "its folder still stands there"


def test_a_mixture_names_registered_experts(registry, make):
    mixture = Mixture(
        name="triforce-moe-v1", status="candidate", specialization="all three", experts=["hyrule-asm-v1"],
        router="cascade", registered="2026-11-25T02:00:00+00:00",
    )  # fmt: skip
    with pytest.raises(HafsError, match="'hyrule-asm-v1' is not in the registry"):
        registry.add(mixture)
    registry.add(*make("hyrule-asm-v1"))
    registry.add(mixture)
    registry.promote("triforce-moe-v1")
    assert registry.get("triforce-moe") == registry.get("triforce-moe-v1")
    with pytest.raises(HafsError, match="has no adapter") as mixed:
        registry.adapter("triforce-moe")
    assert mixed.value.hint == "hafs ask mixture=triforce-moe"


def test_changed_bytes_do_not_answer(registry, make):
    registry.add(*make("hyrule-asm-v1"))
    registry.promote("hyrule-asm-v1")
    (registry.adapter("hyrule-asm") / "adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(HafsError, match="have changed since"):
        registry.adapter("hyrule-asm")
    (registry.path.parent / "registry/hyrule-asm-v1/adapter_config.json").unlink()
    with pytest.raises(HafsError, match="is missing"):
        registry.adapter("hyrule-asm")


HOSTILE = [
    "", ".", "..", "../x-v1", "/etc/passwd-v1", "a/b-v1", "a\\b-v1", "hyrule asm-v1", "Hyrule-Asm-v1", "hyrule-asm",
    "hyrule-asm-v0", "hyrule-asm-v01", "hyrule-asm-v1\n", "hyrule-asm-v1]\nx = 1", 'a"-b-v1', "a.b-c-v1", "-asm-v1",
    "hyrule--asm-v1", "hyrule-asm-v\uff11", "hÿrule-asm-v1", "con-v1", "nul-v2", "com1-v1", f"{'a' * 200}-b-v1",
    "$(rm)-a-v1", "hyrule-asm-v123456", "hyrule-asm-v1 ", "~-a-v1", "a-b-v1\x00", "${oc.env:HOME}-a-v1",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_and_write_nothing(registry, make, name, tmp_path):
    record, write = make(name)
    with pytest.raises(HafsError) as refused:
        registry.add(record, write)
    assert len(str(refused.value).splitlines()) <= 2
    with pytest.raises(HafsError):
        registry.get(name)
    assert not registry.path.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_of_any_name_gets_a_family_or_none(name):
    near = names.slug(name)
    assert near == "" or names.is_version(f"{near}-v1")
