"""The dashboard in the terminal with a real training process, which is paused, resumed and stopped by keys."""

import os
import subprocess
import sys

import pytest
from test_terminal import dashboard, drawn, text_of
from tiny_runs import COMMON, events, with_common, write_rows

PATIENCE_SECONDS = 90
LONG = with_common(
    "stage=main",
    "stage.main.epochs=400",
    "callbacks.early_stopping=null",
    "callbacks.pause.poll_seconds=0.1",
    "stage.main.validation=end",
    common=[word for word in COMMON if "lr=" not in word],
)


@pytest.fixture
def live(here):
    """A training process that would run for minutes."""
    write_rows(here / "rows.jsonl")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (here / "said").open("w") as out:
        child = subprocess.Popen([sys.executable, "-m", "hafs.train", *LONG], cwd=here, stdout=out, stderr=out, env=env)
    yield here / "outputs/run", child
    if child.poll() is None:
        child.kill()
        child.wait()


async def until(pilot, condition, what):
    for _ in range(PATIENCE_SECONDS * 10):
        await pilot.pause(0.1)
        if condition():
            return
    raise AssertionError(f"timeout: waited until {what}")


async def test_a_live_run_is_followed_paused_resumed_stopped_and_continued(live):
    folder, child = live
    folder.mkdir(parents=True, exist_ok=True)
    app = dashboard(folder, refresh_seconds=0.2)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(app, pilot)
        await until(pilot, lambda: len(app.history.steps) > 3, "steps are shown")
        assert "● running" in text_of(app)

        await pilot.press("p")
        await until(pilot, lambda: app.history.status() == "paused", "it is paused")
        assert "paused" in text_of(app)
        paused_at = events(folder, "step")[-1]["total"]
        await pilot.pause(1.0)
        assert events(folder, "step")[-1]["total"] == paused_at
        assert any(path.name.startswith("step-") for path in (folder / "checkpoints").iterdir())

        await pilot.press("r")
        await until(pilot, lambda: events(folder, "step")[-1]["total"] > paused_at, "it continues")
        await until(pilot, lambda: "● running" in text_of(app), "it is shown as running")

        await pilot.press("s", "y")
        await until(pilot, lambda: child.poll() is not None, "it stopped")
        await until(pilot, lambda: app.history.status() == "stopped", "it is shown as stopped")
        assert child.returncode == 75, (folder.parents[1] / "said").read_text()
        assert "stopped" in text_of(app)
    last = events(folder, "step")[-1]["total"]
    assert (folder / f"checkpoints/step-{last + 1:08}").is_dir()
