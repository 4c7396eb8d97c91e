"""A base as files: where they are, and what tells it from every other."""

import hashlib
import re
from pathlib import Path

from hafs.errors import ConfigError
from hafs.model import Model


def base_folder(model: Model) -> Path:
    """The folder of a base in transformers' format, fetched or converted if need be.

    Raises:
        ConfigError: It cannot be had.
    """
    from huggingface_hub import snapshot_download

    def located(name: str | Path, **options: object) -> Path:
        return Path(name) if Path(name).is_dir() else Path(snapshot_download(str(name), **options))  # type: ignore[arg-type]

    return model.weights.loading(located)


def base_sha256(folder: Path) -> str:
    """SHA-256 over the names and hashes of a base's weights and its config.json.

    Raises:
        ConfigError: The folder holds no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder} holds no safetensors")
    lines = [f"{path.name} {_sha256(path)}" for path in [*files, folder / "config.json"]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    blob = path.resolve().name  # the hub's cache names large files by their SHA-256, so 28 GB need not be read again
    if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
