"""Takes each protection away in turn, in a copy of the source, and shows that some test fails for it: `make mutants`.

    python tests/mutants.py                 all of them
    python tests/mutants.py fsync hash      those whose names contain a word

A mutant that survives is a hole in the suite; one whose text is no longer found is out of date. Both exit with 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutant(NamedTuple):
    """One protection, and how it is taken away."""

    name: str
    file: str
    old: str
    new: str
    tests: str


DAMAGE, KILLS, SIGNALS, DISK, POWER, RESUME, SECURITY, MEMORY, DIVERGENCE = (
    f"tests/faults/test_{name}.py"
    for name in ("damage", "kills", "signals", "disk", "power", "resume", "security", "out_of_memory", "divergence")
)
EARLY = "tests/faults/test_early_signals.py"
REGISTRY_FAULTS = "tests/registry/test_registry_faults.py"
FIND = f"{DAMAGE} -k is_found_and"

MUTANTS = [
    Mutant("fsync of files", "hafs/core/durable.py", "        sync_file(path)\n", "", POWER),
    Mutant("fsync of the manifest", "hafs/core/durable.py", "    sync_file(draft / MANIFEST)\n", "", POWER),
    Mutant("fsync of the draft", "hafs/core/durable.py", "    sync_folder(draft)\n", "", POWER),
    Mutant("fsync of the parent", "hafs/core/durable.py", "    sync_folder(target.parent)\n", "", POWER),
    Mutant("hash check", "hafs/core/durable.py", "    if found != digest:\n", "    if False:\n", FIND),
    Mutant("size and hash check", "hafs/runs/checkpoints.py", "    durable.verify(folder)\n", "", FIND),
    Mutant(
        "files must be those listed",
        "hafs/core/durable.py",
        "        if not names and (not files or there != set(files)):\n",
        "        if False:\n",
        DAMAGE,
    ),
    Mutant(
        "draft before target",
        "hafs/core/durable.py",
        "    draft = _draft_of(target)\n    shutil",
        "    draft = target\n    shutil",
        f"{KILLS} -k every_named_place_one",
    ),
    Mutant(
        "aside before replacing",
        "hafs/core/durable.py",
        "        _put_back(root / aside",
        "        (root / aside",
        POWER,
    ),
    Mutant(
        "weights only",
        "hafs/runs/checkpoints.py",
        "weights_only=True, map",
        "weights_only=False, map",
        f"{DAMAGE} -k hostile_pickle",
    ),
    Mutant(
        "damaged checkpoints are refused again",
        "hafs/runs/checkpoints.py",
        "        if lost:\n",
        "        if False:\n",
        DAMAGE,
    ),
    Mutant(
        "a checkpoint is of its step",
        "hafs/runs/checkpoints.py",
        '["total"] != _step(folder)',
        '["total"] == -5',
        f"{DAMAGE} -k foreign",
    ),
    Mutant(
        "a full disk is an OSError",
        "hafs/runs/checkpoints.py",
        "    except RuntimeError as error:",
        "    except ZeroDivisionError as error:",
        f"{DISK} -k limit",
    ),
    Mutant(
        "a failed save does not end the run",
        "hafs/training/resumable.py",
        '        except OSError as error:\n            self.event("save_failed"',
        '        except ZeroDivisionError as error:\n            self.event("save_failed"',
        f"{DISK} -k failed_save",
    ),
    Mutant(
        "a failed event does not end the run",
        "hafs/runs/events.py",
        "        except OSError as error:",
        "        except ZeroDivisionError as error:",
        f"{DISK} -k events",
    ),
    Mutant(
        "lock",
        "hafs/runs/run_folder.py",
        "            self._lock.acquire(timeout=0)\n",
        "",
        f"{RESUME} -k second_process",
    ),
    Mutant(
        "config comparison",
        "hafs/train.py",
        "            run.compare(values)\n",
        "",
        "tests/training/test_training.py -k another_config",
    ),
    Mutant(
        "data comparison",
        "hafs/runs/run_folder.py",
        'if before is None or before["data"] in (data, *also):',
        "if True:",
        f"{RESUME} -k data_that",
    ),
    Mutant(
        "a record's own hash",
        "hafs/core/records.py",
        'if facts.pop("sha256") == _digest_of_facts(facts):',
        'if facts.pop("sha256"):',
        "tests/runs/test_run_folder.py -k record",
    ),
    Mutant(
        "a trained folder has a record",
        "hafs/runs/run_folder.py",
        "        if noted is None and (",
        "        if False and (",
        f"{DAMAGE} -k without_its_record",
    ),
    Mutant(
        "finished stages are verified",
        "hafs/runs/run_folder.py",
        "            durable.verify(folder)\n",
        "",
        f"{DAMAGE} -k finished_stage",
    ),
    Mutant(
        "boundary rule: the cursor moves before the save",
        "hafs/training/step.py",
        "samples=0 if ended else done",
        "samples=0 if ended else self.samples",
        f"{KILLS} -k several",
    ),
    Mutant(
        "RNG by step",
        "hafs/training/module.py",
        "self.cursor.step, j, self.global_rank",
        "0, j, self.global_rank",
        "tests/faults/test_numbers.py",
    ),
    Mutant(
        "RNG is set at all",
        "hafs/training/module.py",
        "                torch.manual_seed(\n",
        "                int(\n",
        f"{KILLS} -k several",
    ),
    Mutant(
        "order by epoch", "hafs/training/stage.py", '"order", epoch)', '"order", 0)', "tests/faults/test_numbers.py"
    ),
    Mutant(
        "the optimizer is restored",
        "hafs/training/resumable.py",
        '        self._resume_optimizer = state["optimizer"]\n',
        "",
        f"{RESUME} -k with_other_workers",
    ),
    Mutant(
        "callbacks are restored",
        "hafs/training/session.py",
        "callback.load_state_dict(callbacks_state[callback.state_key])",
        "pass",
        f"{RESUME} -k early_stopping",
    ),
    Mutant(
        "token weighting",
        "hafs/training/module.py",
        "self.loss_scale.value / units",
        "self.loss_scale.value / max(1, len(packed.target_N)) / len(mine)",
        "tests/training/test_module.py",
    ),
    Mutant(
        "loss guard before the optimizer",
        "hafs/training/callbacks/loss_guard.py",
        "            module.skip(why)\n",
        "",
        DIVERGENCE,
    ),
    Mutant(
        "steps skipped after a rollback",
        "hafs/training/callbacks/loss_guard.py",
        "if module.leaves_out(facts.total):",
        "if False:",
        f"{DIVERGENCE} -k in_a_row",
    ),
    Mutant(
        "half the learning rate after a rollback",
        "hafs/training/module.py",
        " / 2 ** len(self.rollbacks)",
        "",
        f"{DIVERGENCE} -k in_a_row",
    ),
    Mutant(
        "rollback to a checkpoint that is known to be good",
        "hafs/training/stage_runner.py",
        "if step <= request.healthy]",
        "if True]",
        f"{DIVERGENCE} -k in_a_row",
    ),
    Mutant(
        "the proven checkpoint outlives rotation",
        "hafs/runs/checkpoints.py",
        " + [step for step in there if step <= self.proven][-1:]",
        "",
        f"{DIVERGENCE} -k rotation",
    ),
    Mutant(
        "a missing rollback record is refused",
        "hafs/training/stage_runner.py",
        'if state["rollbacks"] > len(rollbacks):',
        "if False:",
        f"{DIVERGENCE} -k gone",
    ),
    Mutant(
        "gradients of a failed attempt are cleared",
        "hafs/training/micro_batch_size.py",
        "            forget()  #",
        "            pass  #",
        "tests/training/test_module.py -k forgotten",
    ),
    Mutant(
        "the micro-batch is halved",
        "hafs/training/micro_batch_size.py",
        "max(longest, now // 2)",
        "max(longest, now)",
        MEMORY,
    ),
    Mutant(
        "out of memory in the optimizer causes a rollback",
        "hafs/training/module.py",
        "        if self.devices.anywhere(bool(reason)):\n            self.micro_batch_size.shrink",
        "        if False:\n            self.micro_batch_size.shrink",
        f"{MEMORY} -k as_if",
    ),
    Mutant(
        "the size that was found is restored",
        "hafs/training/resumable.py",
        "        self.micro_batch_size.resume(tokens)\n",
        "",
        f"{MEMORY} -k survives_a_resume",
    ),
    Mutant(
        "a stop within a measurement",
        "hafs/training/resumable.py",
        'measurement too: the weights have not changed since the last step."""\n        self.stop_if_asked()\n',
        'measurement too: the weights have not changed since the last step."""\n',
        f"{SIGNALS} -k within",
    ),
    Mutant(
        "an interrupted measurement is repeated",
        "hafs/training/stage_runner.py",
        "and module.unmeasured:",
        "and False:",
        f"{SIGNALS} -k within",
    ),
    Mutant(
        "the best epoch is passed on",
        "hafs/training/stage_runner.py",
        "        epoch = self.module.take_best()\n",
        "        epoch = 1\n",
        "tests/test_best_epoch.py -k hands_on",
    ),
    Mutant(
        "the best epoch outlives rotation",
        "hafs/runs/checkpoints.py",
        "        kept += [step for step in self.bests if step < min(kept)][-1:]",
        "        kept += []",
        "tests/test_best_epoch.py -k rotation_spares",
    ),
    Mutant(
        "the best epoch outlives a full disk",
        "hafs/training/resumable.py",
        "        self.best.hold(self.cursor, self.trainable())\n",
        "        pass\n",
        "tests/test_best_epoch.py -k fails_every",
    ),
    Mutant(
        "a second signal",
        "hafs/core/signals.py",
        "        if self.asked:\n            signal.signal",
        "        if False:\n            signal.signal",
        f"{SIGNALS} -k second",
    ),
    Mutant(
        "signals wait for the boundary",
        "hafs/core/signals.py",
        "        if not self._deferred:\n",
        "        if True:\n",
        f"{SIGNALS} -k each_signal",
    ),
    Mutant(
        "signals before the first step",
        "hafs/train.py",
        "        with listening(for_good=True):",
        "        if True:",
        f"{SIGNALS} -k first_step",
    ),
    Mutant(
        "a stop request that an import swallowed",
        "hafs/train.py",
        "        stop.obey()\n",
        "",
        f"{SIGNALS} -k first_step",
    ),
    Mutant(
        "a stop request is not handled as an error",
        "hafs/core/signals.py",
        "class StopNow(BaseException)",
        "class StopNow(Exception)",
        f"{SIGNALS} -k while_a_checkpoint",
    ),
    Mutant(
        "an error caused by a stop request is a stop",
        "hafs/core/signals.py",
        "            if stop.raised:",
        "            if False:",
        f"{SIGNALS} -k first_step",
    ),
    Mutant(
        "only hafs handles signals",
        "hafs/training/trainer.py",
        "    trainer._signal_connector = Unheard(trainer)\n",
        "",
        "tests/faults/test_every_boundary.py -k of_a_step",
    ),
    Mutant(
        "all ranks check for a stop together",
        "hafs/training/session.py",
        "        with self.stop.deferred() if self.world > 1 else nullcontext():",
        "        with nullcontext():",
        "tests/faults/test_ranks.py",
    ),
    Mutant(
        "a lost rank ends the run",
        "hafs/training/ranks.py",
        "        if gone:\n",
        "        if False:\n",
        "tests/faults/test_ranks.py",
    ),
    Mutant("nohup", "hafs/core/signals.py", " if signal.getsignal(n) != signal.SIG_IGN]", "]", f"{SIGNALS} -k ignore"),
    Mutant("Ctrl-C before the command", "hafs/__init__.py", "if is_the_program():", "if False:", EARLY),
    Mutant(
        "Ctrl-C at other commands",
        "hafs/config/hydra_command.py",
        "    except KeyboardInterrupt:",
        "    except ZeroDivisionError:",
        EARLY,
    ),
    Mutant(
        "a failing logger does not end the run",
        "hafs/training/safe_logger.py",
        "        except Exception as error:",
        "        except ZeroDivisionError as error:",
        f"{DISK} -k logger",
    ),
    Mutant(
        "Hydra's own node is checked",
        "hafs/config/hydra_command.py",
        "    guard_hydra()\n",
        "",
        f"{SECURITY} -k a_file_or_a_word",
    ),
    Mutant(
        "targets are checked",
        "hafs/config/build.py",
        "        if not allowed:",
        "        if False:",
        f"{SECURITY} -k hostile_target",
    ),
    Mutant(
        "what a module imports is not in it",
        "hafs/config/build.py",
        "        found = getattr(import_module(module), name, None)",
        "        import hydra.utils\n        found = hydra.utils.get_object(target)\n        return True",
        f"{SECURITY} -k hostile_target",
    ),
    Mutant(
        "code beside an adapter",
        "hafs/modeling/adapter/validation.py",
        "path.suffix.lower() in _CODE or",
        "",
        f"{SECURITY} -k hostile_adapter",
    ),
    Mutant(
        "secrets in events",
        "hafs/runs/events.py",
        "scrub(orjson.dumps(line, option=_OPTIONS).decode()).encode()",
        "orjson.dumps(line, option=_OPTIONS)",
        "tests/runs/test_run_folder.py -k secret",
    ),
    Mutant(
        "secrets in the record",
        "hafs/train.py",
        "values, components = plain(config), chosen(config)",
        "import omegaconf as o; values, components = o.OmegaConf.to_container(config, resolve=True), chosen(config)",
        f"{SECURITY} -k secret_is",
    ),
    Mutant(
        "secrets in tracebacks",
        "hafs/config/hydra_command.py",
        'print(scrub("".join(format_exception(error)))',
        'print("".join(format_exception(error))',
        f"{SECURITY} -k secret_is",
    ),
    Mutant(
        "jobs stay in the sweep's folder",
        "hafs/config/tree.py",
        'varied.replace("/", "_")',
        "varied",
        f"{SECURITY} -k sweep",
    ),
    Mutant(
        "registry: the lock",
        "hafs/registry/store.py",
        '            with durable.lock(self.folder / "lock", seconds=LOCK_SECONDS):\n',
        "            if True:\n",
        f"{REGISTRY_FAULTS} -k twenty",
    ),
    Mutant(
        "registry: its last line",
        "hafs/registry/store.py",
        "        if END not in text.splitlines():\n",
        "        if False:\n",
        f"{REGISTRY_FAULTS} -k damaged",
    ),
    Mutant(
        "registry: the text before a change",
        "hafs/registry/store.py",
        '            durable.write_text(self.backups / f"{stamp}.toml", old)\n',
        "",
        f"{REGISTRY_FAULTS} -k damaged",
    ),
    Mutant(
        "registry: bytes that were registered",
        "hafs/registry/registry.py",
        "            same = fingerprint(folder) == record.bytes\n",
        "            same = fingerprint(folder) is not None\n",
        "tests/registry/test_registry.py -k changed_bytes",
    ),
    Mutant(
        "registry: a name for one model only",
        "hafs/registry/registry.py",
        "    if type(old) is not type(new) or old.bytes != new.bytes:\n",
        "    if False:\n",
        "tests/registry/test_registry.py -k same_bytes",
    ),
    Mutant(
        "export: the limit",
        "hafs/registry/export/__init__.py",
        '    if not found.kl <= limits["kl"]:  # NaN too\n',
        "    if False:\n",
        "tests/registry/test_export.py -k removed",
    ),
    Mutant(
        "export: the tokenizer that training used",
        "hafs/modeling/gguf/vocabulary.py",
        "    described = json.loads(tokenizer.backend_tokenizer.to_str())\n",
        '    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))\n',
        "tests/modeling/test_gguf.py -k splits",
    ),
    Mutant(
        "escaping in pages",
        "hafs/core/pages.py",
        "autoescape=True",
        "autoescape=False",
        "tests/core/test_pages.py tests/evaluation/test_evaluation_pages.py",
    ),
    Mutant(
        "host names of the dashboard",
        "hafs/dashboard/web.py",
        '    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])\n',
        "",
        "tests/dashboard/test_web.py -k foreign_host",
    ),
]


def table() -> str:
    """The list as a table in Markdown, as in docs/explanation/reliability.md."""
    rows = [f"| {each.name} | `{each.file}` | `{each.tests}` |" for each in MUTANTS]
    return "\n".join(["| taken away | in | tests that fail |", "|---|---|---|", *rows])


def killed(mutant: Mutant) -> str:
    """What became of it: `killed`, `SURVIVED`, or `NOT FOUND`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("hafs", "conf", "tests", "data"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / mutant.file
        source = path.read_text()
        if mutant.old not in source:
            return "NOT FOUND"
        path.write_text(source.replace(mutant.old, mutant.new, 1))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *_words(mutant)]
        environ = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environ, check=False, capture_output=True, text=True, timeout=600
            )
        except subprocess.TimeoutExpired:
            return "HUNG"
        return {0: "SURVIVED", 1: "killed"}.get(done.returncode, f"NO TEST RAN ({done.returncode})")


def _words(mutant: Mutant) -> list[str]:
    files, _, which = mutant.tests.partition(" -k ")
    return [*files.split(), *(["-k", which] if which else [])]


def main() -> None:
    wanted = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    bad = 0
    for mutant in chosen:
        began = time.perf_counter()
        verdict = killed(mutant)
        bad += verdict != "killed"
        print(f"{verdict:9}  {mutant.name:48}  {mutant.file}  {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} protections are missed by a test when they are gone")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
