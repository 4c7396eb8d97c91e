import pytest

from hafs.config import check, compose
from hafs.config.flags import as_overrides
from hafs.config.overrides import called_after, name_of_sweep, rewrite
from hafs.core.errors import ConfigError
from hafs.train import Settings


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


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["dataset.path=x.jsonl"], ["dataset=jsonl", "dataset.path=x.jsonl"]),
        (["dataset.path=x.jsonl", "experiment=none"], ["dataset=jsonl", "dataset.path=x.jsonl", "experiment=none"]),
        (["dataset.path=x.jsonl", "experiment=hyrule_asm_v1"], ["dataset.path=x.jsonl", "experiment=hyrule_asm_v1"]),
        (["dataset=bread", "dataset.path=x.jsonl"], ["dataset=bread", "dataset.path=x.jsonl"]),
        (["model=owner/name"], ["model=hub", "model.weights.repo=owner/name"]),
        (["specialization=bread: water, salt"], ["specialization='bread: water, salt'"]),
        (["expert.bread.system=You bake, don't you?"], [r"experts.bread.system='You bake, don\'t you?'"]),
        (["specialization='a, b'"], ["specialization='a, b'"]),
        (["system=${oc.env:X}, y"], ["system=${oc.env:X}, y"]),
    ],
)
def test_one_word_is_enough_for_rows_a_hub_model_and_prose(typed, read):
    assert rewrite(typed) == read


def test_a_folder_with_a_model_is_a_model(here):
    (here / "mine").mkdir()
    (here / "mine/config.json").write_text("{}")
    assert rewrite(["model=mine"]) == ["model=hub", "model.weights.repo=mine"]


def test_own_rows_are_trained_by_their_size_whatever_else_is_set():
    assert rewrite(["dataset.path=x.jsonl"], demo=True)[-1] == "experiment=own_data"
    assert rewrite(["dataset.path=x.jsonl", "stage.main.samples=8"], demo=True)[-1] == "experiment=own_data"
    assert "experiment=own_data" not in rewrite(["dataset.path=x.jsonl", "experiment=none"], demo=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [("my data/bread rows.jsonl.gz", "bread_rows"), ("data/*.jsonl", "data"), (["a.jsonl", "b.jsonl"], "a"),
     ("Qwen/Qwen2.5-Coder-3B", "Qwen2.5-Coder-3B"), ("../..", "data")],
)  # fmt: skip
def test_what_comes_from_a_file_is_called_after_it(path, name):
    assert called_after(path) == name


def test_the_run_and_the_dataset_are_called_after_the_file():
    config = compose("train", ["dataset.path=rows/bread.jsonl", "model=owner/Name-3B"])
    assert (config.dataset.name, config.model.name, config.name) == ("bread", "Name-3B", "Name-3B-nf4-bread-lora16")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["--model", "tiny"], ["model=tiny"]),
        (["--model=tiny", "--adapter.r=4"], ["model=tiny", "adapter.r=4"]),
        (["--max-grad-norm", "2"], ["max_grad_norm=2"]),
        (["-m", "--cfg", "job", "seed=1"], ["-m", "--cfg", "job", "seed=1"]),
        (["--", "--model", "x"], ["--", "--model", "x"]),
        (["seed=1", "-"], ["seed=1", "-"]),
    ],
)
def test_flags_of_other_tools_are_overrides(typed, read):
    assert as_overrides(typed, "train") == read


@pytest.mark.parametrize(
    ("typed", "said"),
    [(["--modle", "tiny"], "did you mean model=...?"), (["--model"], "--model has no value"), (["-n", "x"], "--help")],
)
def test_a_flag_that_means_nothing_is_answered_with_the_override(typed, said):
    with pytest.raises(ConfigError, match=r"key=value|no value") as told:
        as_overrides(typed, "train")
    assert said in str(told.value)


def test_several_values_without_m_say_so():
    with pytest.raises(ConfigError, match=r"adapter\.r has several values, 4,8") as told:
        compose("train", ["adapter.r=4,8"])
    assert "-m adapter.r=4,8" in told.value.hint


def test_a_name_with_a_space_is_answered_with_a_name():
    with pytest.raises(ConfigError, match="for example my_run"):
        check(compose("train", ["name=my run"]), Settings)


@pytest.mark.parametrize(
    "name", ["übung.jsonl", "my rows.jsonl", "a=b.jsonl", "rows(1).jsonl", "x,y.jsonl", "spiel's.jsonl", "~t.jsonl",
             "[a].jsonl", "{b}.jsonl", "日本.jsonl", "12", "a:b#c.jsonl"],
)  # fmt: skip
def test_a_path_is_taken_as_typed(here, name):
    (here / name).write_text("{}")
    config = compose("validate", rewrite([f"dataset.path={name}"]))
    assert config.dataset.path == name


def test_a_path_that_does_not_exist_is_one_too_and_lists_stay_lists(here):
    assert compose("validate", rewrite(["dataset.path=nöt=here.jsonl"])).dataset.path == "nöt=here.jsonl"
    assert compose("validate", rewrite(["dataset.path=[a.jsonl,b.jsonl]"])).dataset.path == ["a.jsonl", "b.jsonl"]
    assert rewrite(["dataset.path=a.jsonl,b.jsonl"])[-1] == "dataset.path=a.jsonl,b.jsonl"  # a sweep
