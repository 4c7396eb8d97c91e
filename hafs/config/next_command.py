"""The command to type next: each command ends with it."""

import re
import shlex
import sys
from collections.abc import Sequence
from typing import TextIO


def say_next(*words: str, why: str = "", setting: str = "", to: TextIO | None = None) -> None:
    """Print the next command, as hints are printed.

    Args:
        words: After `hafs`; quoted for a shell where needed. Empty words are left out.
        why: What it does, in a few words.
        setting: An environment variable before it, with a space at its end.
        to: Where; None: standard output.
    """
    print(f"-> {setting}{typed(words)}{'  # ' * bool(why)}{why}", file=to or sys.stdout, flush=True)


def typed(words: Sequence[str]) -> str:
    """The command as people type it."""
    return " ".join(["hafs", *(_quoted(word) for word in words if word)])


def same_data(words: Sequence[str]) -> list[str]:
    """The overrides of a command that choose model and data, for the next one."""
    own = [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] in ("model", "dataset", "seed")]
    if any(word.startswith("dataset.path=") for word in own):
        own = [word for word in own if word != "dataset=jsonl"]
    repo = next((word.partition("=")[2] for word in own if word.startswith("model.weights.repo=")), "")
    if repo and "model=hub" in own:
        return [
            word if word != "model=hub" else f"model={repo}"
            for word in own
            if not word.startswith("model.weights.repo")
        ]
    return own


def run_name_for(dataset: str) -> str:
    """A run's name that is a valid name of a registered model too: `bread` gives `bread-v1`."""
    bare = "-".join(part.strip("_") for part in re.sub(r"[^a-z0-9_-]+", "_", dataset.lower()).split("-"))
    return f"{bare.strip('-_') or 'my-expert'}-v1"


def chosen_council(words: Sequence[str]) -> list[str]:
    """The overrides of a command that choose who answers, for the next one."""
    groups = (
        "expert",
        "experts",
        "provider",
        "providers",
        "router",
        "synthesizer",
        "mixture",
        "policy",
        "default_expert",
    )
    own = [word for word in words if word.lstrip("+~").split("=")[0].split(".")[0] in groups]
    return [re.sub(r"=\[([\w,.-]+)\]$", r"=\1", word) for word in own]  # as typed: expert=bread,general


def _quoted(word: str) -> str:
    key, equals, value = word.partition("=")
    plain = all(character.isalnum() or character in "._-/,:@+" for character in value)
    return word if equals and plain and key.replace(".", "").replace("_", "").isalnum() else shlex.quote(word)
