import pytest

from hafs.config.overrides import name_of_sweep, rewrite
from hafs.core.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["stage=warmup,main"], ["stage=[warmup,main]"]),
        (["stage=[warmup,main]"], ["stage=[warmup,main]"]),
        (["stage=main"], ["stage=[main]"]),
        (["stage="], ["stage=[]"]),
        (["stage=choice(warmup,main)"], ["stage=choice(warmup,main)"]),
        (["stage=[warmup],[main]"], ["stage=[warmup],[main]"]),
        (["stage.main.lr=1e-4"], ["stages.main.lr=1e-4"]),
        (["+stage.main.extra=1"], ["+stages.main.extra=1"]),
        (["~stage.main.lr"], ["~stages.main.lr"]),
        (["provider=openai,openrouter,local"], ["provider=[openai,openrouter,local]"]),
        (["expert=asm"], ["expert=[asm]"]),
        (["expert=choice(asm,debug)"], ["expert=choice(asm,debug)"]),
        (["provider.openrouter.app_name=x"], ["providers.openrouter.app_name=x"]),
        (["expert.asm.threshold=0.5"], ["experts.asm.threshold=0.5"]),
        (["adapter.r=4,8"], ["adapter.r=4,8"]),
        (["name=stage=main"], ["name=stage=main"]),
        (["--cfg", "job", "stage=a,b"], ["stage=[a,b]", "--cfg", "job"]),
        (["-cn", "stage=a,b", "seed=1"], ["seed=1", "-cn", "stage=a,b"]),
    ],
)
def test_a_bare_list_of_stages_is_a_sequence_and_everything_else_is_hydras(typed, read):
    assert rewrite(typed) == read


@pytest.mark.parametrize("word", ["stage=main,main", "stage=warmup,main,warmup", "stage=[main,main]", "provider=a,b,a"])
def test_a_name_listed_twice_is_refused(word):
    with pytest.raises(ConfigError, match="twice"):
        rewrite([word])


def test_a_stray_comma_is_refused_with_what_to_write():
    with pytest.raises(ConfigError, match="write stage=warmup,main"):
        rewrite(["stage=warmup,main,"])


@pytest.mark.parametrize("word", ["model=qwen14b", "dataset=jsonl"])
def test_choosing_a_model_or_a_dataset_leaves_the_demo_unless_it_is_asked_for(word):
    assert rewrite([word], demo=True) == [word, "experiment=none"]
    assert rewrite([word, "experiment=sample"], demo=True) == [word, "experiment=sample"]
    assert rewrite(["adapter.r=8"], demo=True) == ["adapter.r=8"]


def test_a_job_of_a_sweep_is_named_by_what_varies():
    words = rewrite(["-m", "adapter.r=4,8", "stage=warmup,main", "seed=1"])
    assert "hydra.job.config.override_dirname.exclude_keys=['experiment','stage','seed']" in words


DEFAULT, PARTS = (
    "tiny-none-my-rows-lora16",
    {"model": "tiny", "quant": "none", "dataset": "my-rows", "adapter": "lora16"},
)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["adapter.r=4,8"], "tiny-none-my-rows-adapter.r"),
        (["adapter=lora,rslora", "adapter.r=4"], "tiny-none-my-rows-adapter"),
        (["adapter=lora,rslora", "adapter.r=4,8"], "tiny-none-my-rows-adapter-adapter.r"),
        (["dataset=a,b", "seed=1"], "tiny-none-dataset-lora16"),
        (["model=choice(tiny,qwen7b)", "seed=range(1,3)"], "model-none-my-rows-lora16-seed"),
        (["+adapter.layers_to_transform=[0],[1]"], "tiny-none-my-rows-adapter.layers_to_transform"),
        (["stages.main.lr=1e-3,1e-4", "optimizer=adamw,other"], f"{DEFAULT}-stages.main.lr-optimizer"),
        (["stage=[warmup,main]", "adapter.r=4"], DEFAULT),
        (["adapter.r=4,8", "name=mine"], DEFAULT),
    ],
)
def test_a_sweep_is_named_by_what_varies_in_it(words, name):
    assert name_of_sweep(DEFAULT, words, PARTS) == name
