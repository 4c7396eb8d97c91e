"""Uploads a registered model, or an export of it, to the Hugging Face hub, with its model card."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hafs.core.errors import ConfigError
from hafs.registry.record import Record
from hafs.registry.registry import Registry

_REPOSITORY = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/?", re.ASCII)
FILES = {
    "adapter": ("adapter_config.json", "adapter_model.safetensors", "evaluation.json"),
    "merged": ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"),
    "gguf": ("*.gguf",),
    "lora_gguf": ("*.gguf",),
}
"""By form: what is uploaded beside the card. Held-out conversations and the run's config stay here."""
_NEVER = {"held_out.jsonl", "run.json", "data_report.json", "MANIFEST.json"}


def repository(address: str) -> str:
    """`owner/name` of an address on the hub.

    Raises:
        ConfigError: It is not one.
    """
    found = _REPOSITORY.fullmatch(address)
    if not found:
        raise ConfigError(f"{address!r} is not an address on the hub", hint="hf://owner/name")
    return found["repo"]


def upload(registry: Registry, name: str, repo: str, *, form: str, private: bool, message: str | None) -> str:
    """Upload one form of a registered model; returns the address of the repository.

    Args:
        registry: Has the model.
        name: Of the model, or of a family: its version in production.
        repo: `owner/name` on the hub; made if it does not exist.
        form: A key of `FILES`.
        private: Whether a new repository is private.
        message: Of the commit; None: the model's name.

    Raises:
        ConfigError: There is no such export, or the hub rejected the upload.
        RegistryError: There is no such model, or its files have changed.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    record = registry.get(name)
    if not isinstance(record, Record):
        raise ConfigError(f"{name!r} is a mixture; only models are uploaded", hint=f"hafs models show {name}")
    folder = registry.verified(record)
    source = folder if form == "adapter" else _export(record.name, form)
    api = HfApi()
    with tempfile.TemporaryDirectory(prefix="hafs-push-") as draft:
        _gather(source, folder, Path(draft), form)
        try:
            url = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=draft, commit_message=message or f"{record.name} ({form})")
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise _refused(repo, error) from error
    return str(url)


def _export(name: str, form: str) -> Path:
    """The folder of an export.

    Raises:
        ConfigError: It was not made yet.
    """
    folder = Path("outputs/exports") / name / form
    if not folder.is_dir():
        suffix = "" if form == "merged" else f" format={form}"
        raise ConfigError(f"there is no export in {folder}", hint=f"hafs export {name}{suffix}")
    return folder


def _gather(source: Path, registered: Path, draft: Path, form: str) -> None:
    """Link or copy what is uploaded into one folder."""
    found = sorted({path for pattern in FILES[form] for path in source.glob(pattern)})
    card = (registered / "README.md").read_text(encoding="utf-8")
    base = re.search(r"^base_model: (\S+)$", card, re.MULTILINE)
    for path in [path for path in found if path.is_file() and path.name not in _NEVER]:
        if path.name == "adapter_config.json" and base:  # PEFT loads the base from there: by its name, not our path
            config = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": base[1]}
            (draft / path.name).write_text(json.dumps(config, indent=2), encoding="utf-8")
        else:
            (draft / path.name).symlink_to(path.resolve())
    if form != "adapter":  # a whole model is not loaded with PEFT
        library = "gguf" if "gguf" in form else "transformers"
        card = re.sub(r"^library_name: peft$", f"library_name: {library}", card, count=1, flags=re.MULTILINE)
    (draft / "README.md").write_text(card, encoding="utf-8")
    if not any(draft.glob("*.*f*")):
        raise ConfigError(f"{source} holds nothing to upload as {form}", hint="make the export again")


def _refused(repo: str, error: Any) -> ConfigError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    why = " ".join(str(error).split())[:200]
    if status in (401, 403):
        return ConfigError(
            f"the hub does not let this account write to {repo!r}: {why}", hint="hf auth login, or set HF_TOKEN"
        )
    return ConfigError(f"{repo!r} was not uploaded: {why}", hint="check the network and the name, then run it again")
