"""The files of a base model: their location and their SHA-256.

Hashes are computed from the bytes, never taken from a name. A file that hafs did not write is hashed once; a note in
the cache keeps the result until size, times or inode change.
"""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hafs.core import durable, records
from hafs.core.errors import ConfigError
from hafs.modeling.base_model import Model
from hafs.modeling.cache import cache_folder, known_sha256
from hafs.modeling.weights import Converted, Hub

KINDS = ("*.safetensors", "pytorch_model*.bin")
"""Weight files; the first kind that exists counts."""


def base_folder(model: Model) -> Path:
    """The folder of a base in transformers' format, downloaded or converted if needed.

    Raises:
        ConfigError: It cannot be loaded.
    """
    from huggingface_hub import snapshot_download

    def located(name: str | Path, **options: object) -> Path:
        return Path(name) if Path(name).is_dir() else Path(snapshot_download(str(name), **options))  # type: ignore[arg-type]

    return model.weights.loading(located)


def loaded_folder(model: Model) -> Path | None:
    """The folder that a base is loaded from; None if it is not on this machine yet. Nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    weights = model.weights
    if isinstance(weights, Converted):
        return weights.folder()
    if not isinstance(weights, Hub):
        return None
    if Path(weights.repo).is_dir():
        return Path(weights.repo)
    found = try_to_load_from_cache(weights.repo, "config.json", revision=weights.revision)
    return Path(found).parent if isinstance(found, str) else None


def weights_sha256(model: Model) -> str | None:
    """SHA-256 over the names and hashes of a base's files of weights; None if there are none on this machine.

    Raises:
        ConfigError: A file of the hub's cache is damaged.
    """
    folder = loaded_folder(model)
    files = _weight_files(folder) if folder else []
    return _sha256_of(files) if files else None


def base_sha256(folder: Path) -> str:
    """SHA-256 over the names and hashes of a base's weights and its config.json.

    Raises:
        ConfigError: The folder holds no safetensors, or a file of the hub's cache is damaged.
    """
    files = sorted(folder.glob(KINDS[0]))
    if not files:
        raise ConfigError(f"{folder} contains no safetensors file")
    return _sha256_of([*files, folder / "config.json"])


def _weight_files(folder: Path) -> list[Path]:
    return next((files for kind in KINDS if (files := sorted(folder.glob(kind)))), [])


def _sha256_of(files: Sequence[Path]) -> str:
    with ThreadPoolExecutor() as threads:  # hashing releases the GIL
        digests = list(threads.map(_sha256, files))
    lines = [f"{path.name} {digest}" for path, digest in zip(files, digests, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = known_sha256(path) or _noted(path)
    blob = path.resolve().name  # the hub's cache names large files by their SHA-256
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) and blob != digest:
        raise ConfigError(
            f"{path} is damaged: its SHA-256 is {digest[:12]}, the hub's is {blob[:12]}",
            hint=f"remove {path.resolve()}; it is then downloaded again",
        )
    return digest


def _noted(path: Path) -> str:
    """The SHA-256 of a file, from the note in the cache if the file has not changed since."""
    stat = path.stat()
    facts = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    note = cache_folder() / "hashes" / f"{hashlib.sha256(facts[0].encode()).hexdigest()[:16]}.json"
    try:
        known = records.read_record(note)
        if known and known["of"] == facts:
            return known["sha256_of_file"]
    except records.Damaged:
        records.say_damaged(note, records.CHECKSUM, f"{path} is hashed again")
    digest = durable.sha256(path)
    with suppress(OSError):  # a note only saves time
        durable.make_folders(note.parent)
        records.write_record(note, {"of": facts, "sha256_of_file": digest})
    return digest
