"""The pins of the design: what holds for every option of every group."""

import importlib.util
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from hafs.cli import commands
from hafs.config import build, check, compose, conf_folder
from hafs.config.build import CHAT_MODELS, targets
from hafs.config.earlier import current_target
from hafs.config.group_map import FOREIGN_GROUPS, MODULES, NO_CODE, in_modules, modules
from hafs.config.overrides import SEQUENCES
from hafs.train import Settings

GROUPS = sorted(path.name for path in conf_folder().iterdir() if path.is_dir())
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((conf_folder() / group).glob("*.yaml"))]
COMMANDS = [path.stem for path in sorted(conf_folder().glob("*.yaml")) if path.stem not in {"command", "train"}]
WITH_CODE = [group for group in GROUPS if group in MODULES]
ROOT = Path(__file__).resolve().parents[2]


def command_of(group):
    """A command that has the group; training has most of them."""
    for command in ("train", *COMMANDS):
        entries = yaml.safe_load((conf_folder() / f"{command}.yaml").read_text())["defaults"]
        if any(isinstance(entry, dict) and group in entry for entry in entries):
            return command
    raise AssertionError(f"no command has the group {group!r}")


NEEDED = {"jsonl": ["dataset.path=my.jsonl"], "hub": ["model.weights.repo=owner/name"]}
"""What has to be said beside an option."""


@cache
def composed(group, option):
    """Composed once per worker; tests read it and change nothing."""
    return compose(command_of(group), [f"{group}={option}", *NEEDED.get(option, [])])


def node_of(group, option):
    config = composed(group, option)
    return config[f"{group}s"][option] if group in SEQUENCES else config[group]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes_the_check(group, option):
    check(composed(group, option), Settings if command_of(group) == "train" else None)


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] in WITH_CODE])
def test_every_target_of_an_option_lives_where_the_map_says(group, option):
    found = [sub["_target_"] for _, sub in targets(node_of(group, option))]
    assert found
    elsewhere = CHAT_MODELS if group == "provider" else ()
    assert all(in_modules(target, (*MODULES[group], *elsewhere)) for target in found)


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in {"experiment", "logger"}])
def test_every_option_of_a_group_has_the_same_keys(group):
    keys = {}
    for name in (option for g, option in OPTIONS if g == group):
        keys[name] = tuple(node_of(group, name))
    assert len(set(map(frozenset, keys.values()))) == 1, keys


def test_every_config_group_is_on_the_map_once_and_the_map_names_modules_that_exist():
    assert sorted([*MODULES, *FOREIGN_GROUPS, *NO_CODE]) == GROUPS
    for module in modules():
        assert importlib.util.find_spec(module), module


def test_every_command_has_a_primary_config_of_its_name():
    assert sorted(["train", *COMMANDS]) == commands()


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("hafs.expert.Expert", "hafs.council.expert.Expert"),
        ("hafs.model.hub", "hafs.modeling.weights.hub"),
        ("hafs.model.causal_lm", "hafs.modeling.base_model.causal_lm"),
        ("hafs.registry.registry", "hafs.registry.registry.registry"),
        ("hafs.metrics.ended.Ended", "hafs.evaluation.metrics.eos_rate.EosRate"),
        ("hafs.council.expert.Expert", "hafs.council.expert.Expert"),
        ("os.system", "os.system"),
    ],
)
def test_a_target_that_an_earlier_release_named_is_found_under_its_present_name(before, now):
    assert current_target(before) == now
    assert current_target(now) == now


def test_a_users_own_config_with_an_old_target_works_and_is_told_the_new_one(here, capsys):
    shipped = (conf_folder() / "expert/asm.yaml").read_text()
    (here / "conf/expert").mkdir(parents=True)
    old = shipped.replace("hafs.council.expert.Expert", "hafs.expert.Expert").replace("asm", "mine")
    (here / "conf/expert/mine.yaml").write_text(old)
    config = compose("ask", ["expert=mine", "provider=scripted"])
    check(config)
    assert "hafs.expert.Expert is now hafs.council.expert.Expert" in capsys.readouterr().err
    assert type(build(config.experts.mine)).__name__ == "Expert"


def test_no_value_has_a_default_in_two_places():
    """What YAML sets has no default in a signature."""
    twice = []
    for group, option in OPTIONS:
        if group not in MODULES:
            continue
        for path, node in targets(composed(group, option)):
            target = node["_target_"]
            if not target.startswith("hafs."):
                continue
            from hydra.utils import get_object

            for name, parameter in inspect.signature(get_object(target)).parameters.items():
                if name in node and parameter.default is not inspect.Parameter.empty:
                    twice.append(f"{path}.{name}")
    assert not twice


def test_callbacks_define_only_real_hooks():
    import pytorch_lightning as pl
    from hydra.utils import get_object

    real = {name for name in dir(pl.Callback) if not name.startswith("_")} | {"state_key"}
    for name, node in compose("train").callbacks.items():
        callback = get_object(node["_target_"])
        own = {key for key, value in vars(callback).items() if inspect.isfunction(value) and not key.startswith("_")}
        assert own <= real, f"{name}: {own - real}"


def test_the_callbacks_run_in_the_order_that_their_file_says():
    order = list(compose("train").callbacks)
    for first, then in [("journal", "loss_guard"), ("loss_guard", "checkpoint"), ("early_stopping", "checkpoint"),
                        ("checkpoint", "pause"), ("micro_batch", "rehearsal")]:  # fmt: skip
        assert order.index(first) < order.index(then)


@pytest.mark.parametrize("order", ["warmup,main,cooldown", "cooldown,warmup", "main"])
def test_stages_compose_in_the_order_typed(order):
    config = compose("train", [f"stage={order}", "experiment=none"])
    assert list(config.stages) == order.split(",")


def test_the_documented_stage_values_hold():
    stages = compose("train", ["experiment=none"]).stages
    assert [(s.samples, s.epochs, s.lr) for s in stages.values()] == [(1000, 1, 1e-5), (None, 2, 5e-5), (1000, 1, 1e-6)]


def test_the_demos_own_sizes_are_in_its_experiment_and_nowhere_else():
    sample = yaml.safe_load((conf_folder() / "experiment/sample.yaml").read_text())
    config = OmegaConf.to_container(compose("train"))
    for stage, values in sample["stages"].items():
        assert values.items() <= {
            k: str(v) if k == "lr" else v for k, v in config["stages"][stage].items()
        }.items() or all(
            float(config["stages"][stage][k]) == float(v) if k == "lr" else config["stages"][stage][k] == v
            for k, v in values.items()
        )


@pytest.mark.parametrize("name", ["hyrule_asm_v1", "yaze_sage_v1", "debug_oracle_v1"])
def test_the_three_experts_are_what_they_are_made_for(name):
    config = compose("train", [f"experiment={name}"])
    assert config.model.weights.repo == "Qwen/Qwen2.5-Coder-14B-Instruct"
    assert (config.quant.name, config.adapter.r) == ("nf4", 16)
    assert {stage.batch_size for stage in config.stages.values()} == {8}
    assert config.name == name.replace("_", "-")


def test_importing_hafs_and_every_help_stays_light():
    heavy = "torch,transformers,langchain_core,pytorch_lightning,peft"
    code = (
        "import sys, hafs, hafs.cli, hafs.train; from hafs.config.help import help_text; help_text('train', '');"
        f"print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_layers_hold():
    out = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stdout


@pytest.mark.parametrize("words", [["model=nope"], ["-m", "model=tiny,nope", "hardware=cpu"]])
def test_an_option_that_does_not_exist_is_a_user_error_in_a_sweep_too(words, here, monkeypatch, capsys):
    """Hydra's exception is an OSError as well, and was once taken for one of the file system."""
    from hafs.commands.plan import main

    monkeypatch.setattr(sys, "argv", ["hafs plan", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "hafs: model has no option 'nope'" in capsys.readouterr().err
