"""What a tracker receives: the run's config and its figures; and what is said where a tracker is missing."""

import pytest
import yaml
from tiny_runs import run

from hafs.config.extras import how_to_install
from hafs.core.errors import ConfigError
from hafs.runs.run_folder import Run
from hafs.training.safe_logger import open_logger


def test_config_and_figures_arrive_at_the_logger(here):
    from tiny_runs import write_rows

    write_rows(here / "rows.jsonl")
    run("stage=warmup", "logger=csv")
    folder = here / "outputs/run/logs/version_0"
    config = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert (config["adapter.r"], config["model.name"], config["stages.warmup.lr"]) == (4, "tiny", 1e-3)
    assert {"train/loss", "train/lr"} <= set((folder / "metrics.csv").read_text().splitlines()[0].split(","))


@pytest.mark.parametrize(("option", "extra"), [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb")])
def test_a_missing_tracker_is_named_with_its_own_pip_line(here, monkeypatch, option, extra):
    def missing(*_, **__):
        raise ModuleNotFoundError(f"{extra} is required")

    monkeypatch.setattr("hafs.training.safe_logger.build", missing)
    with pytest.raises(ConfigError) as told, Run(here / "outputs/x") as opened:
        open_logger({"_target_": f"pytorch_lightning.loggers.{option}"}, opened)
    assert told.value.hint.startswith(how_to_install(extra))
    assert extra in told.value.fact
