"""A command: one Hydra app with error messages for people and exit codes for scripts."""

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hafs.config.check import check, refuse_typed
from hafs.config.explain import explain
from hafs.config.flags import as_overrides
from hafs.config.help import help_text
from hafs.config.hydra_node import guard_hydra
from hafs.config.overrides import DEMO_COMMANDS, rewrite
from hafs.config.positional import collect
from hafs.config.shipped import conf_folder
from hafs.config.tree import SWEEP, drop_unchosen, register, unread_options
from hafs.core import records
from hafs.core.cuda_allocator import use_expandable_segments
from hafs.core.errors import BY_CTRL_C, FAILURE, OUR_BUG, USER_CAN_FIX, ConfigError, HafsError, Interrupted
from hafs.core.launched import rank
from hafs.core.redaction import scrub
from hafs.core.signals import raise_at_ctrl_c, stop_is_an_error
from hafs.core.thread_waiting import ProcessorUse, sleep_if_busy

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The variable by which Hydra raises errors, and by which hafs prints tracebacks."""


class SweepFolder(Callback):
    """Remembers the folder of a sweep, so that the command can show its table even if a job failed."""

    current: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note the folder, for this process and for the processes of the jobs."""
        os.environ.pop(SWEEP, None)
        try:
            SweepFolder.current = Path(config.hydra.sweep.dir)
        except OmegaConfBaseException:  # a value is missing; Hydra raises the same right after
            return
        os.environ[SWEEP] = SweepFolder.current.name


def job_folder() -> Path | None:
    """The folder of this job within a sweep; None outside a sweep."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        folder, root = Path(HydraConfig.get().runtime.output_dir), Path(HydraConfig.get().sweep.dir)
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"the folder of this job would be {os.path.relpath(folder)}, outside of {root}",
                hint="name the jobs by number: 'hydra.sweep.subdir=${hydra.job.num}'",
            )
        return Path(os.path.relpath(folder))
    return None


def typed_overrides() -> list[str] | None:
    """The overrides of this job, for another process that runs the same job; None if no command is running."""
    if not HydraConfig.initialized():
        return None
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return [*HydraConfig.get().overrides.task, "hydra.mode=RUN"]
    return sys.argv[1:]


def command(
    name: str,
    enter: Callable[[DictConfig], Any],
    *,
    description: str,
    settings: type | None = None,
    after_sweep: Callable[[Path], int] | None = None,
    positional: str | None = None,
    unused: Collection[str] = (),
) -> Callable[[], None]:
    """The `main` of a command.

    Args:
        name: Name of its primary config in `conf/`, without the suffix.
        enter: The function that runs it, called with the checked config.
        description: The first part of `--help`.
        settings: TypedDict of the command's own top-level keys, for the check.
        after_sweep: Called with the sweep's folder after all jobs, including failed ones; returns the exit code.
        positional: The key for the arguments that are not overrides, taken literally and joined by spaces.
        unused: Top-level keys that this command never builds, so they are not checked and nothing is imported for them.
    """
    outcome: dict[str, Exception] = {}
    job = _job(name, enter, settings, unused, outcome)

    def main() -> None:
        use_expandable_segments()
        outcome.clear()  # of an earlier call in this process
        typed = sys.argv[1:]
        if {"-h", "--help"} & set(typed):
            print(help_text(name, description), end="")
            return
        traceback = os.environ.get(FULL_ERROR) == "1" or "hafs.debug=true" in typed
        try:
            with _ctrl_c_in_a_line(traceback=traceback), stop_is_an_error():
                refuse_typed(typed)
                words = collect(as_overrides(typed, name), positional, name)
                sys.argv[1:] = typed = rewrite(words, demo=name in DEMO_COMMANDS)
                code = _run(name, job, after_sweep)
            if "error" in outcome:
                raise outcome["error"]
        except Exception as error:
            code = report(error, name, typed, traceback=traceback)
        sys.exit(code)

    return main


def _job(
    name: str, enter: Callable[[DictConfig], Any], settings: type | None, unused: Collection[str],
    outcome: dict[str, Exception],
) -> Callable[[DictConfig], Any]:  # fmt: skip
    """What Hydra calls with the config of each job: it checks the config and runs the command.

    An error of a single job goes into `outcome`, not through Hydra, which would print a message of its own first.
    """
    begun = ProcessorUse.now()

    def job(config: DictConfig) -> Any:
        sleep_if_busy(begun, ProcessorUse.now())
        try:
            with stop_is_an_error():
                drop_unchosen(config, HydraConfig.get().overrides.task)
                check(config, settings, unused=unused, command=name)
                return enter(config)
        except Exception as error:
            if job_folder() is None:
                outcome["error"] = error
                return None
            return _failed_job(name, error)

    job.__module__ = enter.__module__
    return job


def _failed_job(name: str, error: Exception) -> None:
    """Report the failure of one job of a sweep; the other jobs run.

    Raises:
        SystemExit: The sweep was interrupted.
    """
    if isinstance(error, Interrupted):
        raise SystemExit(report(error, name, [], traceback=False)) from error
    _note_failure(job_folder(), error)
    if "BasicSweeper" not in HydraConfig.get().sweeper._target_:
        raise error  # a sweeper that optimizes must see that this job has no result
    report(error, name, [], traceback=False)


@contextmanager
def _ctrl_c_in_a_line(*, traceback: bool) -> Iterator[None]:
    """Exit with `BY_CTRL_C` if nothing else handles the signal; cleanup is done by then."""
    raise_at_ctrl_c()
    try:
        yield
    except KeyboardInterrupt:
        if traceback:
            raise
        print("hafs: stopped by SIGINT", file=sys.stderr)
        sys.exit(BY_CTRL_C)


def _note_failure(job: Path | None, error: Exception) -> None:
    """Write into the job's folder why it failed, for the table of the sweep."""
    if job:
        job.mkdir(parents=True, exist_ok=True)
        code = error.exit_code if isinstance(error, HafsError) else OUR_BUG
        facts = {"status": "failed", "error": scrub(str(error)), "exit_code": code}
        records.write_record(job / FAILURE, facts)


def _run(name: str, task: Callable[[DictConfig], Any], after_sweep: Callable[[Path], int] | None) -> int:
    register()
    guard_hydra()
    for line in unread_options():
        print(f"hafs: {line}", file=sys.stderr)
    for library in ("hydra", "bitsandbytes"):  # they repeat our errors, and recommend a package that is not needed
        logging.getLogger(library).setLevel(logging.CRITICAL)
    failure: BaseException | None = None
    try:
        with _errors_raised():
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(task)()
    except (Exception, SystemExit) as error:
        if SweepFolder.current is None or after_sweep is None:
            raise
        failure = error
    if SweepFolder.current is None or after_sweep is None:
        return 0
    code = after_sweep(SweepFolder.current)
    if failure is not None and (code == 0 or isinstance(failure, SystemExit)):
        raise failure
    return code


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Hydra raises errors; otherwise it prints tracebacks itself and exits with 1."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FULL_ERROR, None)
        else:
            os.environ[FULL_ERROR] = before


def report(error: Exception, command_name: str, typed: list[str], *, traceback: bool) -> int:
    """Print an error; returns the exit code."""
    told = error if isinstance(error, HafsError) else explain(error, command_name, typed)
    if told is None or traceback:
        print(scrub("".join(format_exception(error))), end="", file=sys.stderr)
    if told is None:
        print("hafs: this is a bug in hafs, not a user error", file=sys.stderr)
        return OUR_BUG
    if isinstance(told, Interrupted) and rank() > 0:
        return told.exit_code  # the first process of the run says it
    if told.hint is None and told.exit_code == USER_CAN_FIX:
        told.hint = f"hafs {command_name} --help lists its keys and options"
    for line in scrub(str(told)).splitlines():
        print(line if line.startswith("->") else f"hafs: {line}", file=sys.stderr)
    return told.exit_code
