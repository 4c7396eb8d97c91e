"""Hostile configs, adapters, names; secrets that must not be written anywhere."""

import json
import os
import shutil

import pytest
import torch
from harness import said, train
from omegaconf import OmegaConf
from safetensors.torch import save_file

from hafs.config import build, check, compose, plain
from hafs.config.hydra_node import refuse_in_hydra
from hafs.core.errors import ConfigError, RunError
from hafs.core.redaction import scrub
from hafs.modeling.adapter.validation import validated

TARGETS = [
    "torch.load",
    "torch.hub.load",
    "torch.utils.cpp_extension.load",
    "numpy.load",
    "builtins.open",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "os.system",
    "os.popen",
    "posix.system",
    "subprocess.Popen",
    "subprocess.check_output",
    "shutil.rmtree",
    "pickle.loads",
    "runpy.run_path",
    "importlib.import_module",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "hafs.core.durable.os.system",
    "hafs.core.durable.shutil.rmtree",
    "hafs.core.durable.remove",
    "hafs.runs.run_folder.Path.unlink",
    "hafs.modeling.weights.hashlib.file_digest",
    "hafs.training.stage.torch.load",
    "hafs.config.build.instantiate",
    "hafs.training.callbacks.pause.time.sleep",
    "hafs.training.stage.Stage.__init__",
    "pytorch_lightning.Trainer.__init__.__globals__",
    "pytorch_lightning.callbacks.lambda_function.Callable",
    "pytorch_lightning.loggers.csv_logs.os.remove",
    "pytorch_lightning.callbacks../../x",
    "torch.optim.adam.torch.load",
    "torch.optim.lr_scheduler.warnings.warn",
    "transformers.AutoModel.from_pretrained",
    "",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", ["plain", "partial", "nested", "listed", "pointed"])
def test_a_hostile_target_is_refused_before_anything_is_called(here, target, shape):
    evil = {"_target_": target, "_args_": ["touch mark"]}
    node = {
        "plain": evil,
        "partial": evil | {"_partial_": True},
        "nested": {"_target_": "hafs.training.stage.Stage", "name": evil},
        "listed": {"_target_": "hafs.training.stage.Stage", "name": [[1, {"x": evil}]]},
        "pointed": {"_target_": "${word}", "word": target},
    }[shape]
    config = OmegaConf.create({"word": target, "node": node})
    for use in (check, lambda c: build(c.node)):
        with pytest.raises(ConfigError, match="may not call"):
            use(config)
    assert list(here.iterdir()) == []


def experiment(folder, text):
    """`experiment=evil` of the user's own folder."""
    (folder / "conf/experiment").mkdir(parents=True, exist_ok=True)
    (folder / "conf/experiment/evil.yaml").write_text(f"# @package _global_\n{text}\n")


PLACES = ("callbacks.evil", "logger", "dataset", "adapter.evil", "show.evil", "evil")
"""Nodes that are there, and nodes that are new."""


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_target_in_the_users_own_conf_is_refused_before_anything_is_called(here, target):
    place = PLACES[TARGETS.index(target) % len(PLACES)]
    node = {"_target_": target, "_args_": ["touch mark"]}
    for key in reversed(place.split(".")):
        node = {key: node}
    experiment(here, json.dumps(node))
    with pytest.raises(ConfigError, match="may not call") as error:
        check(compose("train", ["experiment=evil"]))
    assert error.value.fact.startswith(place)
    assert [path.name for path in here.rglob("*")] == ["conf", "experiment", "evil.yaml"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", ["callbacks.evil", "callbacks.sweep_folder", "launcher", "sweeper", "sweeper.evil"])
def test_hydras_own_node_calls_nothing_that_is_not_hydras(here, target, place):
    plugins = "hydra._internal.core_plugins"
    node = OmegaConf.create(
        {
            "callbacks": {"sweep_folder": {"_target_": "hafs.config.hydra_command.SweepFolder"}},
            "launcher": {"_target_": f"{plugins}.basic_launcher.BasicLauncher"},
            "sweeper": {"_target_": f"{plugins}.basic_sweeper.BasicSweeper"},
        }
    )
    refuse_in_hydra(node)
    OmegaConf.update(node, place, {"_target_": target}, force_add=True)
    with pytest.raises(ConfigError, match="may not call"):
        refuse_in_hydra(node)


@pytest.mark.parametrize(
    "handler",
    [
        {"()": "os.system", "command": "touch mark"},
        {"class": "subprocess.Popen", "args": "touch mark"},
        {"class": "logging.os.system"},
        {"class": "logging.StreamHandler", "stream": "ext://os.environ"},
    ],
)
def test_hydras_logging_calls_nothing_that_is_not_loggings(handler):
    whole = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    refuse_in_hydra(OmegaConf.create({"job_logging": {"handlers": {"fine": whole}}}))
    with pytest.raises(ConfigError, match="may not call"):
        refuse_in_hydra(OmegaConf.create({"job_logging": {"handlers": {"evil": handler}}}))


def test_hydras_own_node_cannot_be_pointed_elsewhere_from_a_file_or_a_word(rows):
    evil = "{_target_: torch.load, f: mark}"
    for name, text in (
        ("torch.load", f"hydra: {{callbacks: {{evil: {evil}}}}}"),
        ("os.system", "hydra: {job_logging: {root: {handlers: [a]}, handlers: {a: {'()': os.system, command: ls}}}}"),
        ("numpy.load", "hydra: {callbacks: {sweep_folder: {_target_: numpy.load, file: mark}}}"),
    ):
        experiment(rows, text)
        for words in (["experiment=evil"], ["-m", "experiment=evil,none"]):
            (rows / "said").unlink(missing_ok=True)
            assert train(rows, *words) == 2, said(rows)
            assert f"names '{name}', which a config may not call" in said(rows), text
    for word in (f"+hydra.callbacks.evil={evil}".replace(" ", ""), "+hydra.callbacks.evil._target_=os.system"):
        assert train(rows, word) == 2, said(rows)
    assert {path.name for path in rows.iterdir()} == {"rows.jsonl", "said", "conf", "multirun"}
    assert not list(rows.rglob("mark"))


GOOD = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


def adapter(folder, config=GOOD, tensors=None, **files):
    folder.mkdir()
    text = config if isinstance(config, str | bytes) else json.dumps(config)
    (folder / "adapter_config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    if tensors is None:
        tensors = {NAME.format("A"): torch.zeros(4, 8), NAME.format("B"): torch.zeros(8, 4)}
    if isinstance(tensors, dict):
        save_file(tensors, folder / "adapter_model.safetensors")
    else:
        (folder / "adapter_model.safetensors").write_bytes(tensors)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def header(facts, data=b""):
    text = json.dumps(facts).encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "a pickle beside": {"adapter_model__bin": b"cos\nsystem\n(S'touch mark'\ntR."},
    "code beside": {"modeling__py": b"import os"},
    "a library beside": {"kernel__so": b"\x7fELF"},
    "a pickle instead": {"tensors": b"cos\nsystem\n(S'touch mark'\ntR."},
    "an endless header": {"tensors": (2**60).to_bytes(8, "little") + b"{}"},
    "an empty file": {"tensors": b""},
    "tensors outside of the file": {
        "tensors": header({NAME.format("A"): {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 10**9]}})
    },
    "a foreign tensor": {"tensors": {"model.embed_tokens.weight": torch.zeros(2, 2)}},
    "no tensors": {"tensors": header({})},
    "bytes instead of numbers": {"tensors": {NAME.format("A"): torch.zeros(4, 8, dtype=torch.uint8)}},
    "a larger rank than it says": {"tensors": {NAME.format("A"): torch.zeros(64, 8)}},
    "code to import": {"config": GOOD | {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}}},
    "another method": {"config": GOOD | {"peft_type": "PROMPT_TUNING"}},
    "an unknown field": {"config": GOOD | {"trust_remote_code": True}},
    "a file to read": {"config": GOOD | {"loftq_config": {"path": "/etc/passwd"}}},
    "a pattern without end": {"config": GOOD | {"target_modules": "(a+)+$"}},
    "a rank of words": {"config": GOOD | {"r": "4"}},
    "a rank of nothing": {"config": GOOD | {"r": 0}},
    "a huge rank": {"config": GOOD | {"r": 10**9}},
    "a list": {"config": [GOOD]},
    "no JSON": {"config": b"\xff\xfe{"},
    "a deep nest": {"config": "[" * 100_000},
    "a control character": {"config": GOOD | {"base_model_name_or_path": "a\x00b"}},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_adapter_folder_is_refused_unread(here, kind):
    folder = adapter(here / "adapter", **HOSTILE[kind])
    with pytest.raises(RunError, match="is not an adapter that hafs loads"):
        validated(folder)
    assert [path.name for path in here.iterdir()] == ["adapter"]


def test_a_link_out_of_an_adapter_folder_is_refused_and_a_plain_folder_is_not(here):
    assert validated(adapter(here / "good")).config["r"] == 4
    (adapter(here / "bad") / "README.md").symlink_to("/etc/passwd")
    with pytest.raises(RunError):
        validated(here / "bad")
    shutil.move(here / "good/adapter_model.safetensors", here / "elsewhere.safetensors")
    (here / "good/adapter_model.safetensors").symlink_to(here / "elsewhere.safetensors")
    with pytest.raises(RunError):
        validated(here / "good")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/tmp/x",
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "-x",
        "a\x00b",
        "a\nb",
        "x\n",
        "a" * 300,
        "",
        " ",
        "ü",
        "~x",
    ],
)
def test_a_name_that_could_leave_the_run_root_is_refused(here, name):
    from hafs.train import Settings

    config = compose("train", ["model=tiny"])
    config.name = name
    with pytest.raises(ConfigError, match="name is"):
        check(config, Settings)
    config.name = "fine"
    config.stages.main.name = name
    with pytest.raises(ConfigError, match=r"stages\.main\.name"):
        check(config, Settings)
    assert list(here.iterdir()) == []


def test_a_job_of_a_sweep_cannot_leave_the_sweeps_folder(rows):
    (rows / "deep").mkdir()
    work = rows / "deep"
    shutil.copy(rows / "rows.jsonl", work)
    code = train(work, "-m", "name=sweep", "dataset.path=../../../rows.jsonl,../../../../rows.jsonl")
    assert code == 2, said(work)
    assert {path.name for path in rows.iterdir()} == {"rows.jsonl", "deep"}
    assert {path.name for path in work.iterdir()} == {"rows.jsonl", "said", "multirun"}
    jobs = [path.name for path in (work / "multirun/sweep").iterdir() if path.is_dir()]
    assert sorted(jobs) == ["dataset.path=.._.._.._.._rows.jsonl", "dataset.path=.._.._.._rows.jsonl"]


CANARY = "canary-5f1e77a9c2"


def everywhere(folder):
    """All bytes under a folder but those of its rows and of its `conf/`, and the names of the files."""
    found = [path for path in folder.rglob("*") if path.is_file() and "conf" not in path.parts]
    return b"".join(str(path).encode() + path.read_bytes() for path in found if path.name != "rows.jsonl")


def test_a_secret_in_a_file_of_the_users_own_is_refused_and_written_nowhere_else(rows):
    experiment(rows, f"x: {{api_key: {CANARY}}}")
    for words in (["experiment=evil"], ["-m", "experiment=evil", "seed=1,2"], ["-m", "experiment=evil,none"]):
        (rows / "said").unlink(missing_ok=True)
        assert train(rows, *words) == 2, said(rows)
        assert "x.api_key contains a secret in plain text" in said(rows)
        assert CANARY.encode() not in everywhere(rows)


def test_a_secret_is_in_no_byte_of_what_a_run_writes_or_says(rows):
    environ = {"SOME_API_KEY": CANARY, "HF_TOKEN": f"{CANARY}-2"}
    words = ("+dataset_note=${oc.env:SOME_API_KEY}", "+nested.note='at ${oc.env:HF_TOKEN}'", "logger=tensorboard")
    assert train(rows, *words, environ=environ, failpoints="step.done@step-00000004:kill") == -9, said(rows)
    assert train(rows, *words, environ=environ) == 0, said(rows)[-2000:]
    assert train(rows, *words, "adapter.r=8", environ=environ) == 2
    wrong = ("hafs.debug=true", "adapter.r=${oc.env:SOME_API_KEY}", "name=other")
    assert train(rows, *wrong, environ=environ) == 2
    assert "Traceback" in said(rows)
    for key in ("x.api_key", "x.password", "x.auth_token"):
        assert train(rows, "-m", f"+{key}={CANARY}", "name=a,b", environ=environ) == 2
    assert "contains a secret in plain text" in said(rows)
    assert CANARY.encode() not in everywhere(rows)


def test_what_comes_from_the_environment_is_recorded_as_a_reference(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", CANARY)
    monkeypatch.setenv("PLACE", "somewhere")
    config = OmegaConf.create(
        {"a": "${oc.env:SOME_API_KEY}", "b": ["x", "${oc.env:PLACE}/y"], "c": "${a}", "d": CANARY}
    )
    assert plain(config) == {"a": "${oc.env:SOME_API_KEY}", "b": ["x", "${oc.env:PLACE}/y"], "c": "***", "d": "***"}
    assert scrub(f"no {CANARY}") == "no ***"
    monkeypatch.setenv("SSH_KEY", os.sep + "home/me/key")
    assert scrub("in /home/me/key") == "in /home/me/key"
