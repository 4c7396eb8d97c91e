"""Checks of the machine: torch's device, a real 4-bit product, disk, memory, permissions, the clock."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from hafs.core.state import data_folder
from hafs.modeling.weights import cache_folder
from hafs.planning.diagnostics.finding import Finding, State

DISK_NOTE, DISK_BROKEN = 5e9, 5e8
MEMORY_NOTE, MEMORY_BROKEN = 2e9, 5e8
DRIFT_NOTE = 30.0
"""Clock error in seconds from which providers' rate windows and signed requests fail."""


def device() -> Iterator[Finding]:
    """The device that torch uses, and whether its build supports the GPU."""
    import torch

    from hafs.modeling.hardware.detect import nvidia_smi

    if torch.cuda.is_available():
        from hafs.planning.preflight import build_of_torch

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
        said = f"the driver reports a GPU, and torch {torch.__version__} finds none"
        yield Finding(name="device", state="broken", said=said, todo="install a CUDA build of torch")
    else:
        yield Finding(name="device", state="ok", said=f"no GPU: the CPU, torch {torch.__version__}")


def four_bits() -> Iterator[Finding]:
    """A real 4-bit product, compared with the same product with dequantized weights."""
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
        name="NF4 product", state="ok" if good else "broken", said=f"on {on}: {lost:.0%} off the exact product",
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
    yield Finding(name="memory", state=state, said=said, todo="" if state == "ok" else "close other programs")


def permissions() -> Iterator[Finding]:
    """Whether hafs can write to its folders."""
    refused = []
    for path in (Path("outputs"), Path("multirun"), cache_folder(), data_folder()):
        try:
            with tempfile.TemporaryFile(dir=_nearest(path)):
                pass
        except OSError as error:
            refused.append(f"{path} ({error.strerror})")
    said = f"cannot write: {', '.join(refused)}" if refused else "runs, cache and user data can be written"
    todo = "work in another folder, or set HAFS_CACHE" if refused else ""
    yield Finding(name="writing", state="broken" if refused else "ok", said=said, todo=todo)


def clock(source: str | None) -> Iterator[Finding]:
    """Difference of this clock from a web server's."""
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
