"""Builds the device guard that lets FakeTensorMode run on `cuda:0` in a CPU build of torch, and starts with it."""

import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("guard.cpp")


def library() -> Path:
    """The compiled guard; compiled once for each installed torch, in about ten seconds.

    It loads torch's libraries from the folder that it was linked with, so two environments cannot share it.

    Raises:
        RuntimeError: There is no C++ compiler, or it refuses.
    """
    installed = f"{torch.__version__} {torch.version.git_version} {_libraries()}"
    key = hashlib.sha256(SOURCE.read_bytes() + installed.encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"hafs-fake-card-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{key[:16]}.so"
    if not built.exists():
        draft = built.with_suffix(f".{os.getpid()}")
        _compile(draft)
        draft.replace(built)
    return built


def _libraries() -> Path:
    return Path(torch.__file__).resolve().parent / "lib"


def _compile(target: Path) -> None:
    root = _libraries().parent
    include = [root / "include", root / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    command = [
        os.environ.get("CXX", "g++"), "-O0", "-std=c++20", "-shared", "-fPIC",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}", str(SOURCE),
        *(f"-I{path}" for path in include), f"-L{_libraries()}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{_libraries()}",
        "-o", str(target),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(f"there is no C++ compiler {command[0]!r}") from error
    if done.returncode:
        raise RuntimeError(f"{command[0]} cannot build the guard: {done.stderr[-2000:]}")


def restart_with_it(words: Sequence[str]) -> None:
    """Start this program again with the guard loaded before torch; returns where that was done already."""
    built = str(library())
    if built in os.environ.get("LD_PRELOAD", ""):
        return
    os.environ["LD_PRELOAD"] = " ".join(filter(None, [built, os.environ.get("LD_PRELOAD")]))
    os.execv(sys.executable, [sys.executable, *words])
