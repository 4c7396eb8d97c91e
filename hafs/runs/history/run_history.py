"""A run so far, from its events: position, measurements, notable events."""

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hafs.core.errors import DIVERGED, INTERRUPTED, USER_CAN_FIX
from hafs.runs.history.columns import MetricTable
from hafs.runs.history.process import presence
from hafs.runs.history.wording import is_trouble

STEP = ("total", "time", "epoch", "loss", "accuracy", "grad_norm", "lr", "tokens", "seconds")
"""Columns of the steps."""
MACHINE = (
    "total", "tokens_per_second", "resident_bytes", "memory_bytes", "gpu_reserved_bytes", "gpu_bytes", "gpu_percent",
    "cpu_percent",
)  # fmt: skip
"""Columns of the machine's measurements."""
ENDINGS = {INTERRUPTED: "stopped", DIVERGED: "diverged"}
ENDED = {"finished", "stopped", "diverged", "failed"}
"""Final states; only a restart changes them."""
QUIET_SECONDS = 120.0
"""A process on another host counts as running for this many seconds after its last event."""
_STATES = {"started": "running", "paused": "paused", "resumed_from_pause": "running", "finished": "finished"}
_NOT_NOTABLE = {"generation", "held_out", "planned"}
_PROMPTS, _NOTABLE = 16, 400  # kept


@dataclass(kw_only=True)
class Answers:
    """The answers to one prompt."""

    prompt: str
    base: str | None = None
    """The answer of the base model before training."""
    newest: str | None = None
    total: int = 0
    """Step of the newest."""


@dataclass(frozen=True, kw_only=True)
class RunPosition:
    """Where a run stands."""

    stage: str
    index: int
    """Of the stage in the plan, from 1; 0 if there is no plan."""
    stages: int
    step: int
    """Steps of the stage that are done."""
    steps: int | None
    epoch: int
    epochs: int | None
    done: int
    """Steps of the run that are done."""
    planned: int | None

    @property
    def share(self) -> float:
        """Of the run that is done."""
        return min(1.0, self.done / self.planned) if self.planned else 0.0


class RunHistory:
    """Facts of one run.

    Args:
        folder: Where it lives.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps, self.machine = MetricTable(STEP), MetricTable(MACHINE)
        self.stage = ""
        self.stages: dict[str, int] = {}
        """Stages that began, and the run's step at which each did."""
        self.finished: dict[str, Mapping[str, Any]] = {}
        """`stage_finished` by stage."""
        self.held_out: dict[int, float] = {}
        """Held-out loss by the run's step."""
        self.answers: dict[str, Answers] = {}
        self.notable: deque[Mapping[str, Any]] = deque(maxlen=_NOTABLE)
        """Saves, skipped steps, retries and other notable events, oldest first."""
        self.counts: Counter[str] = Counter()
        self.troubles = 0
        self.started: Mapping[str, Any] | None = None
        self.plan: Mapping[str, Any] = {}
        self.last_time: float | None = None
        self.why = ""
        """Why it ended, if it did not finish."""
        self._state = self._state_before = "running"
        self._steps_before = 0
        self._base_answered = False
        self._back_at: tuple[float, int] = (0.0, 0)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    # taking events in -------------------------------------------------------------------------------------------

    def take_steps(self, columns: Sequence[np.ndarray], *, stage: str) -> None:
        """Take optimizer steps, one array a column of STEP."""
        self.steps.extend(columns)
        self.stage = stage

    def heard(self, when: float) -> None:
        """Record a sign of life of the run."""
        self.last_time = when

    def take(self, event: Mapping[str, Any]) -> None:
        """Take any other event, in its order."""
        kind = event["event"]
        self.counts[kind] += 1
        self.troubles += is_trouble(event)
        if kind == "started":
            self._state_before, self._steps_before = self._state, len(self.steps)
        self._state = _STATES.get(kind, self._state)
        if kind not in _NOT_NOTABLE and not self._told(event):
            self.notable.append(event)
        act = getattr(self, f"_on_{kind}", None)
        if act:
            act(event)

    def _told(self, event: Mapping[str, Any]) -> bool:
        """Whether this end only repeats that the run was stopped."""
        last = self.notable[-1]["event"] if self.notable else ""
        return event["event"] == "ended" and event.get("exit_code") == INTERRUPTED and last == "interrupted"

    def _on_started(self, event: Mapping[str, Any]) -> None:
        self.started, self.why = event, ""

    def _on_planned(self, event: Mapping[str, Any]) -> None:
        self.plan = event

    def _on_stage_started(self, event: Mapping[str, Any]) -> None:
        self.stages.setdefault(event["stage"], event["total"])
        self.stage = event["stage"]

    def _on_stage_finished(self, event: Mapping[str, Any]) -> None:
        self.finished[event["stage"]] = event
        self._on_held_out(event)

    def _on_held_out(self, event: Mapping[str, Any]) -> None:
        loss = event.get("loss")
        self.held_out[event["total"]] = math.nan if loss is None else loss

    def _on_resumed(self, event: Mapping[str, Any]) -> None:
        to = event.get("to", event["total"])  # a rollback tells from where, and to where
        self._back_at = (event["time"], to)
        self.held_out = {total: loss for total, loss in self.held_out.items() if total <= to}

    _on_rollback = _on_resumed

    def _on_generation(self, event: Mapping[str, Any]) -> None:
        prompt = event["prompt"]
        if prompt not in self.answers and len(self.answers) >= _PROMPTS:
            return
        answers = self.answers.setdefault(prompt, Answers(prompt=prompt))
        if event["total"] == 0 and not self.stages:
            answers.base = event["answer"]
        else:
            answers.newest, answers.total = event["answer"], event["total"]

    def _on_ended(self, event: Mapping[str, Any]) -> None:
        refused = event.get("exit_code") == USER_CAN_FIX and len(self.steps) == self._steps_before
        if refused and self._state_before in ENDED:  # a start that ended in an error leaves the run as it was
            self._state = self._state_before
            return
        self._state = ENDINGS.get(event.get("exit_code", 1), "failed")
        self.why = str(event.get("error", ""))

    def _on_interrupted(self, event: Mapping[str, Any]) -> None:
        self._state, self.why = "stopped", f"by {event.get('signal') or 'another process'}"

    # asking -----------------------------------------------------------------------------------------------------

    def status(self, now: float | None = None) -> str:
        """One word: running, paused, finished, stopped, failed, diverged, crashed, silent or empty.

        crashed: its process ended without an event. silent: the process is another machine's, or the folder a copy,
        and it wrote nothing for two minutes.
        """
        if self.last_time is None:
            return "empty"
        if self._state in ENDED:
            return self._state
        match presence(self.started, self.folder):
            case "alive":
                return self._state
            case "gone":
                return "crashed"
            case _:
                quiet = (now or time.time()) - self.last_time > QUIET_SECONDS
                return "silent" if quiet else self._state

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Held-out losses by step, in their order."""
        return sorted(self.held_out.items())

    @property
    def best(self) -> float | None:
        """The lowest held-out loss of the stages that were kept, the base's included."""
        unused = {event["total"] for event in self.finished.values() if not event.get("kept", True)}
        losses = [loss for total, loss in self.held_out.items() if total not in unused and math.isfinite(loss)]
        return min(losses, default=None)

    @property
    def base(self) -> float | None:
        """The held-out loss before training."""
        found = self.finished.get("base", {}).get("loss", self.held_out.get(0))
        return found if found is None or math.isfinite(found) else None

    def tokens_per_second(self) -> np.ndarray:
        """Of each step, float64[steps]."""
        return self.steps["tokens"] / np.maximum(self.steps["seconds"], 1e-9)

    def place(self) -> RunPosition:
        """Where the run stands."""
        planned = {stage["name"]: stage for stage in self.plan.get("stages", ())}
        stage = planned.get(self.stage, {})
        done = int(self.steps["total"][-1]) + 1 if len(self.steps) else 0
        if len(self.steps) == 0 or self.steps["time"][-1] < self._back_at[0]:
            done = self._back_at[1]
        names = list(planned)
        return RunPosition(
            stage=self.stage or ("base" if self.last_time else ""),
            index=names.index(self.stage) + 1 if self.stage in names else 0,
            stages=len(names),
            step=max(0, done - self.stages.get(self.stage, 0)),
            steps=stage.get("steps"),
            epoch=int(self.steps["epoch"][-1]) + 1 if len(self.steps) and done > self.stages.get(self.stage, 0) else 1,
            epochs=stage.get("epochs"),
            done=done,
            planned=sum(stage["steps"] for stage in planned.values()) or None,
        )

    def seconds_left(self) -> float | None:
        """Of the whole run: its steps at the pace of the last ones, and its measurements; None if unknown."""
        place = self.place()
        if self.status() not in ("running", "paused") or not place.planned or not len(self.steps):
            return None
        pace = float(np.mean(self.steps["seconds"][-50:]))
        return max(0, place.planned - place.done) * pace + self._measurements_left() * self._measuring_seconds()

    def _measurements_left(self) -> int:
        wanted = sum(s["measurements"] for s in self.plan.get("stages", ()) if s["name"] not in self.finished)
        made = sum(1 for total in self.held_out if total > self.stages.get(self.stage, 0))
        return max(0, wanted - (made if self.stage not in self.finished else 0))

    def _measuring_seconds(self) -> float:
        seconds = [event.get("seconds") or 0.0 for event in self.finished.values()]
        return seconds[-1] if seconds else 0.0

    def seconds(self) -> float | None:
        """From its first event to its last."""
        first = self.notable[0]["time"] if self.notable else None
        return None if first is None or self.last_time is None else self.last_time - first
