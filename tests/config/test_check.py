import importlib
from typing import get_type_hints

import pytest

from hafs.cli import commands, module_of
from hafs.config import build, check, compose
from hafs.config.check import _adapter
from hafs.core.errors import ConfigError
from hafs.train import Settings


def refused(*words):
    with pytest.raises(ConfigError) as error:
        check(compose("train", list(words)), Settings)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["adapter.r=0"], "adapter.r is 0: input should be greater than 0"),
        (["adapter.r=two"], "adapter.r is 'two': input should be a valid integer"),
        (["adapter.lora_dropout=1.5"], "adapter.lora_dropout is 1.5"),
        (["stage.main.lr=0"], "stages.main.lr is 0"),
        (
            ["stage.main.schedule=cosin"],
            "stages.main.schedule is 'cosin': input should be 'constant', 'linear' or 'cosine'",
        ),
        (["+adapter.lora_alfa=3"], "adapter.lora_alfa is not a field of PEFT's LoraConfig"),
        (["+dataset.val_fractoin=0.2"], "did you mean 'val_fraction'?"),
        (["name=../x"], "name is '../x'"),
        (["name=/etc/x"], "name is '/etc/x'"),
        (["precision=fp8"], "precision is 'fp8'"),
        (["dataset=jsonl"], "set dataset.path=..."),
        (["adapter=none", "adapter.r=8"], "adapter.r is 8"),
        (["+trainer.acelerator=cpu"], "trainer has no 'acelerator'"),
    ],
)
def test_an_impossible_value_is_one_line_that_names_it(words, said):
    lines = refused(*words).splitlines()
    assert any(said in line for line in lines), lines


def test_all_problems_are_reported_together():
    said = refused("adapter.r=0", "optimizer.eps=no", "seed=-1")
    assert all(name in said for name in ("adapter.r", "optimizer.eps", "seed"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=qwen14"], "did you mean 'qwen14b'"),
        (["modle=tiny"], "did you mean 'model'"),
        (["adapter.rr=8"], "did you mean 'adapter.r'"),
        (["stage=warmup,mian"], "did you mean 'main'"),
        (["stage.main.lrr=1"], "did you mean 'stage.main.lr'"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_known_one(words, said):
    with pytest.raises(ConfigError) as error:
        compose("train", words)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.open", "torch.load", "numpy.load", "subprocess.run", "hafs..os.system", "shutil.rmtree"],
)
@pytest.mark.parametrize("place", ["logger", "callbacks.progress", "model.weights", "optimizer"])
def test_a_config_may_not_call_what_is_not_on_the_list(target, place):
    words = [f"+{place}._target_={target}"] if place == "logger" else [f"{place}._target_={target}"]
    config = compose("train", ["logger=none", *words] if place == "logger" else words)
    with pytest.raises(ConfigError, match="may not call"):
        check(config)
    with pytest.raises(ConfigError, match="may not call"):
        build(config)


@pytest.mark.parametrize("word", ["+logger.api_key=abc", "+logger.note=sk-abcdefghijklmnop1234", "+model.password=x"])
def test_a_secret_in_plain_text_is_rejected(word):
    assert "contains a secret in plain text" in refused(word)


def test_the_name_of_a_secrets_variable_is_no_secret():
    config = compose("train", ["+logger.api_key_env=MY_KEY", "logger._target_=pytorch_lightning.loggers.WandbLogger"])
    assert "secret" not in str(_problems(config))


def _problems(config):
    try:
        check(config, Settings)
    except ConfigError as error:
        return error
    return ""


@pytest.mark.parametrize("command", commands())
def test_every_key_of_a_command_has_a_type_that_is_checked(command):
    settings = getattr(importlib.import_module(module_of(command)), "Settings", None)
    hints = get_type_hints(settings, include_extras=True) if settings else {}
    assert [key for key, hint in hints.items() if _adapter(hint) is None] == []
