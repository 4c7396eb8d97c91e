"""A whole life of hafs in one folder, in this process: everything is run once, so that every kind of file is there."""

import importlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny_runs

from hafs.config import build, check, compose
from hafs.core import records
from hafs.modeling import cache as bases
from hafs.modeling.base_folder import weights_sha256
from hafs.modeling.gguf import cache as ggufs
from hafs.modeling.weights import Hub

LARGE = 30e6
"""Files from this size on are linked, not copied; no test writes into one."""
DATA = ["dataset=jsonl", "dataset.path=rows.jsonl", "dataset.test_fraction=0.2", "dataset.val_fraction=0.2"]
PLAN = ["model=tiny", "model.weights.hidden_size=96", "quant=none", *DATA, "hardware=rtx4090_24gb", "precision=fp32"]
TRAIN = [word for word in tiny_runs.COMMON if not word.startswith(("stage.", "name=", "dataset"))] + DATA
HALF = [*TRAIN, "name=half", "stage=main", "stage.main.samples=16", "callbacks.checkpoint.every_steps=1"]
WHOLE = [*TRAIN, "name=run", "stage=warmup", "stage.warmup.samples=8", "stage.warmup.lr=1e-2", "on_worse=continue"]
WHOLE += ["logger=csv"]
VALIDATE = ["model=tiny", *DATA, "out=report"]
EVALUATE = ["name=run", "max_new_tokens=2", "draws=100", "gate.perplexity=null", "gate.forgetting=null", "general=null"]
NAME = "tiny-asm-v1"


def go(command, *overrides):
    """Run a command with its overrides, as typed, in this process."""
    config = compose(command, list(overrides))
    module = importlib.import_module("hafs.train" if command == "train" else f"hafs.commands.{command}")
    check(config, module.Settings, unused=getattr(module, "UNUSED", ("router",) if command == "register" else ()))
    return getattr(module, command)(config)


class Cut(Exception):
    """Ends a training as a power cut would."""


@contextmanager
def home(base, patch):
    """Everything that hafs writes goes below `base`; what it keeps of a process is forgotten."""
    for name in ("cache", "state", "data", "work"):
        (base / name).mkdir(parents=True, exist_ok=True)
    places = {"HAFS_CACHE": "cache", "HAFS_STATE": "state", "XDG_DATA_HOME": "data", "HOME": "home"}
    for name, place in {**places, "HAFS_REGISTRY": "shared/registry.toml"}.items():
        patch.setenv(name, str(base / place))
    patch.chdir(base / "work")
    forget()
    yield


def forget():
    """Be a new process."""
    bases._checked.clear()
    ggufs._checked.clear()
    records._said.clear()


def copy(source, target):
    """A copy of a folder; what is large is linked."""

    def copied(a, b):
        if Path(a).stat().st_size >= LARGE:
            os.link(a, b)
        else:
            shutil.copy2(a, b)

    shutil.copytree(source, target, copy_function=copied, dirs_exist_ok=True)


def live(base, patch):
    """Run everything once."""
    taken = build(compose("train", ["model=tiny"]).model).weights.tokenizer.folder()  # takes long to prepare
    with home(base, patch):
        copy(taken, base / "cache/models" / taken.name)
        tiny_runs.write_rows(base / "work/rows.jsonl", 60)
        go("validate", *VALIDATE)
        calibrated()
        go("train", *WHOLE)
        cut_short(patch)
        go("evaluate", *EVALUATE)
        go("plan", *PLAN)
        go("register", "name=run", f"under={NAME}")
        go("promote", f"version={NAME}")
        routed()
        counted()
        served()
        asked()
        hashed()


def calibrated():
    from hafs.planning.calibration import Calibration, default_path, keep

    title = compose("plan", PLAN).hardware.title
    keep(default_path(), Calibration(title=title, date="2026-01-01", of="tiny", efficiency=(0.1, 0.2, 0.3),
                                     context_bytes=1, slack=0.5))  # fmt: skip


def cut_short(patch):
    from hafs.training import stage_runner

    Runner = next(each for each in vars(stage_runner).values() if hasattr(each, "_close"))

    def cut(self, index, *_, **__):
        raise Cut

    measured = Runner._close
    with patch.context() as during:
        during.setattr(
            Runner, "_close", lambda self, index, *a, **k: (cut if index else measured)(self, index, *a, **k)
        )
        try:
            go("train", *HALF)
        except Cut:
            return
    raise AssertionError("it was not cut short")


def routed():
    from hafs.council.router.classifier import kept

    return kept("what they follow from", lambda: np.ones((4, 2)), (None, 2))


def counted():
    from hafs.providers.quota import Ledger, Limits
    from hafs.providers.quota.file import ledger_path

    limits = Limits(requests_per_minute=None, tokens_per_minute=None, requests_per_day=10**9, tokens_per_day=None)
    ledger = Ledger(ledger_path())
    assert ledger.enter("a", "m", limits, probe_seconds=1)
    ledger.back_off("a", "other", lambda _: 60.0, "rate_limited", "slow down")
    ledger.flush()


def tiny():
    return build(compose("train", ["model=tiny"]).model)


def served():
    return ggufs.base_file(tiny().weights.folder(), "bf16")


def asked():
    from hafs import council

    chosen = ["expert=[asm]", "provider=scripted", "router=keyword", "receipts=outputs/council"]
    return council(chosen).invoke("How do I wait for vblank?")


def hashed():
    """The hash of a base in a folder of one's own."""
    own = Path("own")
    if not own.exists():
        own.mkdir()
        (own / "model.safetensors").write_bytes(b"weights")
    return weights_sha256(replace(tiny(), weights=Hub(repo="own", revision="main")))
