"""The dashboard in the terminal, driven by keys."""

import io
import re
import subprocess
import sys

import numpy as np
import psutil
import pytest
from journals import line, step, whole_run, write
from textual.widgets import ContentSwitcher, DataTable

from hafs.dashboard.app import Dashboard
from hafs.dashboard.panels import AnswersPanel, ChartPanel, EventsPanel
from hafs.dashboard.plot import plot, sparkline
from hafs.dashboard.table import runs_table, shortened
from hafs.runs.history import JournalReader
from hafs.runs.history.figures import RunFigure, Series, figures


def dashboard(*folders, refresh_seconds=100.0):
    return Dashboard([JournalReader(folder) for folder in folders], refresh_seconds=refresh_seconds)


async def drawn(app, pilot):
    for _ in range(200):
        await pilot.pause(0.02)
        if app.read:
            await pilot.pause()
            return
    raise AssertionError("nothing was drawn")


def text_of(app):
    """The text on the terminal, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
async def test_one_run_shows_progress_figures_events_and_answers(tmp_path, width, height):
    app = dashboard(whole_run(tmp_path / "hyrule-asm-v1"))
    async with app.run_test(size=(width, height)) as pilot:
        await drawn(app, pilot)
        shown = text_of(app)
        for words in ("hyrule-asm-v1", "● running", "main 2/2", "step 50/80", "epoch 2/2", "67%", "1 min 6 s left",
                      "loss", "held out 3.1", "learning rate", "tokens/s", "gradient norm", "GPU memory", "9.0 GB",
                      "71 %", "step skipped: the loss is nan", "saved step-00000060", "p pause", "q quit"):  # fmt: skip
            assert words in shown, words
        assert "◆" in shown
        if width == 80:
            assert "lda #1" not in shown
            await pilot.press("a")
        else:
            assert "under 90 %" in shown
        await pilot.pause()
        shown = text_of(app)
        assert "I cannot." in shown
        assert "lda #1" in shown
        assert all(len(row) <= width for row in shown.splitlines())


async def test_the_dashboard_waits_for_a_run_without_events_and_follows_them(tmp_path):
    app = dashboard(tmp_path / "fresh", refresh_seconds=0.3)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(app, pilot)
        assert "· empty" in text_of(app)
        whole_run(tmp_path / "fresh", steps=30)
        for _ in range(100):
            await pilot.pause(0.05)
            if "step 20/80" in text_of(app):
                break
        assert "step 20/80" in text_of(app)


async def test_several_runs_are_compared_and_enter_opens_one(tmp_path):
    runs = [whole_run(tmp_path / name, steps=steps) for name, steps in (("rank-8", 40), ("rank-16", 60))]
    app = dashboard(*runs)
    async with app.run_test(size=(120, 30)) as pilot:
        await drawn(app, pilot)
        shown = text_of(app)
        assert "rank-8" in shown
        assert "rank-16" in shown
        assert app.query_one(DataTable).row_count == 2
        assert app.query_one("#compared", ChartPanel).figure.series[0].label == "rank-8"
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.query_one(ContentSwitcher).current == "one"
        assert app.history.name == "rank-16"
        await pilot.press("n")
        assert app.history.name == "rank-8"
        await pilot.press("c")
        assert app.query_one(ContentSwitcher).current == "many"


async def test_keys_pause_resume_and_stop_the_training_process(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = whole_run(tmp_path / "run", pid=child.pid, process_began=psutil.Process(child.pid).create_time())
    app = dashboard(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await drawn(app, pilot)
        await pilot.press("p")
        assert (folder / "pause").exists()
        await pilot.press("r")
        assert not (folder / "pause").exists()
        await pilot.press("s")
        await pilot.pause()
        assert "Stop run?" in text_of(app)
        await pilot.press("n")
        await pilot.pause()
        assert child.poll() is None
        await pilot.press("s")
        await pilot.press("y")
        await pilot.pause()
        assert child.wait(timeout=20) == -15
        child.stdin.close()
        await pilot.press("p")
        app.draw()
        await pilot.pause()
        assert not (folder / "pause").exists()
        assert "✘ crashed" in text_of(app)


async def test_markup_in_prompts_answers_and_errors_is_shown_as_text(tmp_path):
    folder = whole_run(tmp_path / "run")
    write(folder, line("generation", 2000.0, total=60, prompt="[bold]LDA [$00],Y[/]", answer="[/red] [x]", ended=True))
    write(folder, line("skipped", 2000.0, total=60, why="[/nonsense] [red]"))
    app = dashboard(folder)
    async with app.run_test(size=(200, 60)) as pilot:
        await drawn(app, pilot)
        assert app.query_one(EventsPanel).is_mounted
        assert app.query_one(AnswersPanel).is_mounted
        for words in ("[bold]LDA [$00],Y[/]", "[/red] [x]", "[/nonsense] [red]"):
            assert words in text_of(app)


def test_a_plot_has_the_given_height_and_stays_within_the_width(tmp_path):
    journal = JournalReader(whole_run(tmp_path / "run"))
    journal.follow()
    for width, height in ((16, 3), (40, 8), (111, 30)):
        lines = plot(figures(journal.history, 2 * width)["train/loss"], width, height).plain.splitlines()
        assert len(lines) == height
        assert all(len(row) <= width for row in lines)
    assert sparkline([0, 1, 2, 3], 4, zero=True, top=None) == "▁▃▆█"
    assert sparkline([], 4, zero=True, top=None) == ""


@pytest.mark.parametrize("width", [60, 76, 100])
def test_stage_names_are_never_cut_and_never_overlap(width):
    borders = [(0.0, "warmup"), (2.0, "main"), (26.0, "cooldown"), (27.5, "afterwards")]
    line = Series(label="", role="main", x=np.array([0.0, 14.0, 28.0]), y=np.array([0.5, 0.6, 0.5]))
    figure = RunFigure(name="train/loss", title="loss", series=[line], borders=borders, zero=True, top=1.0)
    words = re.findall(r"[a-z]+", plot(figure, width, 10).plain)
    assert {"main", "cooldown", "afterwards"} <= set(words) <= {name for _, name in borders}


def test_without_a_gpu_the_cpu_utilization_is_shown(tmp_path):
    write(tmp_path / "run", step(0), line("throughput", 1001.0, total=0, cpu_percent=97, resident_bytes=1))
    journal = JournalReader(tmp_path / "run")
    journal.follow()
    figure = figures(journal.history, 10)["machine/cpu_percent"]
    assert (figure.title, figure.now, figure.warning) == ("CPU busy", "97 %", "")


def test_the_table_of_runs_has_status_stage_step_loss_best_and_time_left(tmp_path):
    from rich.console import Console

    journals = [JournalReader(whole_run(tmp_path / "run")), JournalReader(tmp_path / "none")]
    write(tmp_path / "done", step(0), line("finished", 2000.0, total=1, best_stage="main", loss=1.0))
    journals.append(JournalReader(tmp_path / "done"))
    for journal in journals:
        journal.follow()
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(runs_table([journal.history for journal in journals], title="3 runs"))
    text = console.export_text()
    for words in ("● running", "main 2/2", "60/90", "3.1", "1 min 6 s", "· empty", "✔ finished"):
        assert words in text
    assert shortened("smollm2_135m-nf4-alttp_asm-lora16", 16) == "smollm2_…-lora16"
