"""Files in the user's own ./conf: a few lines are enough; what is wrong is one line with file and key."""

import subprocess
import sys

import pytest

from hafs.config import build, check, compose
from hafs.config.scaffold import KINDS, write
from hafs.core.errors import ConfigError, HafsError

BREAD = """specialization: bread, starters and ovens
examples:
  - Why is my crumb gummy?
adapter: bread-v1
"""


def put(here, path, text):
    (here / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
    (here / "conf" / path).write_text(text)


def test_five_lines_are_an_expert_called_after_its_file(here):
    put(here, "expert/bread.yaml", BREAD)
    config = compose("ask", ["expert=bread,general", "provider=scripted"])
    check(config)
    assert list(config.experts) == ["bread", "general"]
    expert = build(config.experts.bread)
    assert (expert.name, expert.adapter, expert.model, list(expert.keywords)) == (
        "bread",
        "bread-v1",
        "bread-v1",
        ["bread"],
    )


@pytest.mark.parametrize(
    "text",
    [
        "# @package experts.asm\n" + BREAD,  # copied from another expert's file
        "_target_: hafs.council.expert.Expert\n" + BREAD + "model: m\nkeywords: []\nthreshold: 0.5\ntier: fast\n"
        "system: null\nmax_tokens: 9\ndeadline_seconds: 9\n",
        "defaults: [general]\n" + BREAD,
    ],
)
def test_an_expert_without_a_name_or_with_anothers_place_never_vanishes(here, text):
    put(here, "expert/bread.yaml", text)
    config = compose("ask", ["expert=bread", "provider=scripted"])
    check(config)
    assert (list(config.experts), build(config.experts.bread).name) == (["bread"], "bread")


def test_short_files_of_other_groups_are_whole_options(here):
    put(here, "dataset/loaf.yaml", "path: bread.jsonl\n")
    put(here, "model/mine.yaml", "weights: {repo: owner/name}\n")
    put(here, "stage/gentle.yaml", "lr: 1e-4\n")
    put(here, "stage/brief.yaml", "epochs: 1\n")  # its rate is the base option's: 5e-5 has to stay a number
    put(here, "stage/soft.yaml", "defaults: [main, _self_]\nepochs: 7\n")
    put(here, "experiment/recipe.yaml", "adapter: {r: 3}\n")
    put(here, "policy/brief.yaml", "calls: 3\n")
    put(here, "provider/shed.yaml", "host: {base_url: 'http://127.0.0.1:1/v1'}\nmodels: {coding: m}\n")
    config = compose("train", ["dataset=loaf", "model=mine", "stage=gentle,brief,soft", "experiment=recipe"])
    check(config)
    assert (config.dataset.name, config.model.name, list(config.stages)) == (
        "loaf",
        "mine",
        ["gentle", "brief", "soft"],
    )
    assert config.stages.brief.lr == 5e-5
    assert (config.stages.gentle.lr, config.stages.soft.epochs, config.adapter.r) == (1e-4, 7, 3)
    assert build(compose("ask", ["provider=shed"]).providers.shed).models["reasoning"] == "m"
    council = compose("ask", ["policy=brief"])
    check(council, unused=("council",))
    assert build(council.policy).calls == 3


@pytest.mark.parametrize(
    ("path", "text", "words", "said"),
    [
        ("expert/b.yaml", "specialisation: x\nexamples: [x]\n", "expert=b", "b.yaml has no 'specialization'"),
        ("expert/b.yaml", BREAD + "keyword: [x]\n", "expert=b", "experts.b (conf/expert/b.yaml) has no 'keyword'"),
        ("expert/b.yaml", BREAD + "threshold: 7\n", "expert=b", "experts.b.threshold (conf/expert/b.yaml) is 7"),
        ("expert/b.yaml", BREAD + "name: asm\n", "expert=b", "conf/expert/b.yaml: name is 'asm'"),
        ("expert/b.yaml", "a: [b\nc: d", "expert=b", "conf/expert/b.yaml, line 2, column 2 is not valid YAML"),
        ("expert/b.yaml", "- a\n", "expert=b", "conf/expert/b.yaml holds a list"),
        ("expert/b.yaml", "", "expert=b", "conf/expert/b.yaml has no 'specialization'"),
        ("expert/b.yaml", "_target_: hafs.council.expert.Expert\n", "expert=b", "lacks the key 'specialization'"),
        ("provider/p.yaml", "models: {coding: m}\n", "provider=p", "conf/provider/p.yaml has no 'host.base_url'"),
        ("provider/p.yaml", "\tx: y", "provider=p", "conf/provider/p.yaml, line 1, column 1 is not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_one_line_with_file_and_key(here, path, text, words, said):
    put(here, path, text)
    with pytest.raises(ConfigError) as told:
        check(compose("ask", [words]))
    assert said in told.value.fact


@pytest.mark.parametrize(
    ("path", "text", "words", "said"),
    [
        ("dataset/d.yaml", "max_length: 9\n", ["dataset=d"], "conf/dataset/d.yaml has no 'path'"),
        ("model/m.yaml", "revision: main\n", ["model=m"], "conf/model/m.yaml has no 'weights.repo'"),
        ("stage/s.yaml", "rate: 1e-4\n", ["stage=s"], "stages.s (conf/stage/s.yaml) has no 'rate'"),
        (
            "experiment/e.yaml",
            "a: b: c",
            ["experiment=e"],
            "conf/experiment/e.yaml, line 1, column 5 is not valid YAML",
        ),
    ],
)
def test_a_wrong_file_of_training_is_one_line_with_file_and_key(here, path, text, words, said):
    put(here, path, text)
    with pytest.raises(ConfigError) as told:
        check(compose("train", words))
    assert said in told.value.fact


def test_a_file_that_no_group_reads_is_named(here):
    put(here, "expert/bread.yml", BREAD)
    put(here, "model/tiny.yaml", "weights: {repo: a/b}\n")
    words = [sys.executable, "-m", "hafs", "route", "rows=nothing.jsonl", "router=keyword", "provider=scripted"]
    out = subprocess.run(words, check=False, capture_output=True, text=True)
    assert "conf/expert/bread.yml is not read; rename it to bread.yaml" in out.stderr
    assert "conf/model/tiny.yaml is not read: model=tiny is an option of hafs" in out.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_new_writes_is_an_option_once_it_is_filled_in(here, kind, monkeypatch):
    paths = write(kind, "bread")
    group = paths[0].parent.name
    command = {"expert": "ask", "provider": "ask", "metrics": "evaluate"}.get(group, "train")
    if "TODO " in paths[0].read_text().split("#", 2)[-1] and kind in ("expert",):
        with pytest.raises(HafsError, match="still says TODO"):
            compose(command, [f"{group}=bread"])
    paths[0].write_text(paths[0].read_text().replace("TODO ", ""))
    monkeypatch.setenv("HAFS_PLUGINS", "bread")
    monkeypatch.syspath_prepend(str(here))
    check(compose(command, [f"{group}=bread"]))
    with pytest.raises(ConfigError, match="exists"):
        write(kind, "bread")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "metric"])
def test_every_key_that_a_template_offers_is_one_that_the_option_has(here, kind):
    (path,) = write(kind, "bread")
    text = path.read_text().replace("TODO ", "")
    head, _, more = text.partition("# Everything below has a default. Remove a # to change it.\n")
    keys = [line.removeprefix("# ") for line in more.splitlines() if not line.startswith("#  ")]
    path.write_text(head + "\n".join(keys) + "\n")
    check(compose({"expert": "ask", "provider": "ask"}.get(kind, "train"), [f"{kind}=bread"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [(("experts", "b"), "did you mean 'expert'"), (("expert", "My Bread"), "hafs new expert my_bread"),
     (("expert", "asm"), "an option of hafs already"), (("metric", "a-b"), "hafs new metric a_b")],
)  # fmt: skip
def test_new_says_what_a_name_must_be(here, words, said):
    with pytest.raises(ConfigError) as told:
        write(*words)
    assert said in str(told.value)
