"""Datasets of the Hugging Face hub: `hf://owner/name` names the files of one split, kept in the hub's cache."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hafs.config.extras import how_to_install
from hafs.core.errors import DataError
from hafs.data.tables import NO_DATA, SUFFIXES

PREFIX = "hf://"
_SPLITS = {
    "train": ("train", "training"), "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}  # fmt: skip
_WORDS = {word: split for split, words in _SPLITS.items() for word in words}
_PART = re.compile(r"[/._-]")


class HubName(NamedTuple):
    """The parts of `hf://[datasets/]owner/name[@revision][/folder]`."""

    repo: str
    revision: str | None
    folder: str


def hub_name(text: str) -> HubName:
    """Read the name of a dataset.

    Raises:
        DataError: It is not a name of the hub.
    """
    named = text.removeprefix(PREFIX).removeprefix("datasets/").rstrip("/")
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?", named)
    if found is None:
        raise DataError(f"{text!r} is not a dataset on the hub", hint="dataset.path=hf://owner/name")
    return HubName(found[1], found[2], found[3] or "")


def hub_files(text: str, *, split: str, revision: str | None) -> list[Path]:
    """The files of a split, downloaded where the cache does not hold them.

    Args:
        text: `hf://owner/name`, perhaps with `@revision` and a folder or file inside it.
        split: `train`, `validation`, `test`, or another word of the files' names.
        revision: A branch, tag or commit; None: the name's own, or the main branch.

    Raises:
        DataError: There is no such dataset, it has no such split, or it cannot be reached and is not in the cache.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
    except ModuleNotFoundError as error:
        fact = f"{text!r} needs huggingface_hub, which is not installed"
        raise DataError(fact, hint=how_to_install("huggingface_hub")) from error
    name = hub_name(text)
    wanted: dict[str, Any] = {"repo_type": "dataset", "revision": revision or name.revision}
    offline = False
    try:
        listed = HfApi().list_repo_files(name.repo, **wanted)
    except (RepositoryNotFoundError, HfHubHTTPError) as error:
        fact = f"the hub does not provide {text!r}: {_first_line(error)}"
        raise DataError(fact, hint="is the name right? private datasets need HF_TOKEN") from error
    except Exception as error:  # no connection, or offline mode: the library's errors for them have no common class
        listed, offline = _kept(text, name.repo, wanted, error), True
    chosen = files_of_split(text, listed, name.folder, split)
    patterns = [_literal(each) for each in chosen]
    try:
        folder = snapshot_download(name.repo, allow_patterns=patterns, local_files_only=offline, **wanted)
    except Exception as error:  # as above
        fact = f"{text!r} is not wholly in the cache, and the hub does not provide the rest: {_first_line(error)}"
        raise DataError(fact, hint="run again; finished files are kept") from error
    return [Path(folder) / each for each in chosen]


def _kept(text: str, repo: str, wanted: dict[str, Any], error: Exception) -> list[str]:
    """The files of a dataset as an earlier download listed them."""
    try:
        from huggingface_hub import get_cached_repo_tree

        return [file.path for file in get_cached_repo_tree(repo, **wanted)]
    except Exception:  # an older library, or no earlier download
        fact = f"{text!r} is not in the cache, and the hub cannot be reached: {_first_line(error)}"
        raise DataError(fact, hint="check the connection and HF_ENDPOINT") from error


def files_of_split(text: str, listed: Sequence[str], folder: str, split: str) -> list[str]:
    """The data files of a split, in order; a split is a word in the names of files or folders.

    If no file names any split, all files are the training split.

    Raises:
        DataError: There is no such split, or several folders hold it.
    """
    inside = [each for each in sorted(listed) if each == folder or each.startswith(f"{folder}/" if folder else "")]
    data = [each for each in inside if each.endswith(SUFFIXES) and Path(each).name not in NO_DATA]
    if not data:
        where = f"{text!r} holds no data files ({', '.join(SUFFIXES)})"
        raise DataError(where, hint=f"it holds {', '.join(inside[:5]) or 'nothing'}")
    splits = {each: _split_of(each.removeprefix(folder), split) for each in data}
    chosen = [each for each in data if splits[each] == _WORDS.get(split, split)]
    if not chosen and split == "train" and not any(splits.values()):
        chosen = data
    if not chosen:
        known = ", ".join(sorted({each for each in splits.values() if each})) or "train"
        raise DataError(f"{text!r} has no split {split!r}", hint=f"dataset.split=... is one of {known}")
    parts = {str(Path(each).parent) for each in chosen}
    if len(parts) > 1 and len({Path(each).name for each in chosen}) < len(chosen):
        raise DataError(f"{text!r} has several parts: {', '.join(sorted(parts)[:8])}",
                        hint=f"name one: dataset.path={text.rstrip('/')}/{sorted(parts)[0]}")  # fmt: skip
    return chosen


def _split_of(path: str, wanted: str) -> str:
    """The split that a path names, the file's own name first; empty if it names none."""
    for part in reversed(path.split("/")):
        words = [word.lower() for word in _PART.split(part)]
        if wanted not in _WORDS and wanted in words:
            return wanted
        found = next((_WORDS[word] for word in words if word in _WORDS), "")
        if found:
            return found
    return ""


def _literal(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
