"""What a tracker receives: the run's config and its figures; and what is said where a tracker is missing."""

import importlib.util
import sqlite3

import pytest
import yaml
from tiny_runs import run, write_rows

from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.runs.run_folder import Run
from hafs.training.safe_logger import open_logger


def test_config_and_figures_arrive_at_the_logger(here):
    write_rows(here / "rows.jsonl")
    run("stage=warmup", "logger=csv")
    folder = here / "outputs/run/logs/version_0"
    config = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert (config["adapter.r"], config["model.name"], config["stages.warmup.lr"]) == (4, "tiny", 1e-3)
    assert {"train/loss", "train/lr"} <= set((folder / "metrics.csv").read_text().splitlines()[0].split(","))


def figures_of_wandb(folder):
    """W&B's own file, offline, is a log of records; its texts stand in it as they are."""
    import wandb

    wandb.finish()  # as at the end of the process
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    return file.read_bytes().decode("latin-1")


def figures_of_mlflow(folder):
    """MLflow's file store has a file per figure and per value of the config."""
    metrics = [path.relative_to(folder).as_posix() for path in folder.glob("*/*/metrics/**/*") if path.is_file()]
    values = [f"{path.name} {path.read_text()}" for path in folder.glob("*/*/params/**/*") if path.is_file()]
    return "\n".join([*metrics, *values])


def figures_of_trackio(folder):
    """Trackio's database holds rows of JSON."""
    (file,) = folder.parent.glob("trackio/*.db")
    with sqlite3.connect(file) as database:
        rows = [database.execute(f"SELECT * FROM {table}").fetchall() for table in ("metrics", "configs")]
    return "\n".join(map(repr, rows))


@pytest.mark.parametrize(
    ("tracker", "figures"),
    [("wandb", figures_of_wandb), ("mlflow", figures_of_mlflow), ("trackio", figures_of_trackio)],
)
def test_the_same_names_and_the_config_arrive_at_each_tracker(here, monkeypatch, tracker, figures):
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for variable in ("TRACKIO_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    write_rows(here / "rows.jsonl")
    run("stage=warmup", f"logger={tracker}")
    told = figures(here / "outputs/run")
    for name in ("train/loss", "train/lr", "stage/loss", "stages.warmup.lr", "model.name"):
        assert name in told, name
    assert not list(Run(here / "outputs/run").events("logging_refused"))


@pytest.mark.parametrize(
    ("option", "extra"), [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb"), ("TrackioLogger", "trackio")]
)
def test_a_missing_tracker_is_named_with_its_own_pip_line(here, monkeypatch, option, extra):
    def missing(*_, **__):
        raise ModuleNotFoundError(f"{extra} is required")

    monkeypatch.setattr("hafs.training.safe_logger.build", missing)
    with pytest.raises(ConfigError) as told, Run(here / "outputs/x") as opened:
        open_logger({"_target_": f"pytorch_lightning.loggers.{option}"}, opened)
    assert told.value.hint.startswith(how_to_install(extra))
    assert extra in told.value.fact
