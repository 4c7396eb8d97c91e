"""What people type wrong in their first hour: a line of what, a line of how, exit code 2, no traceback."""

import importlib
import json
import os
import resource
import subprocess
import sys
import time

import pytest

from hafs.cli import commands, module_of
from hafs.config.hydra_command import SweepFolder

ROWS = "".join(json.dumps({"instruction": f"add {i}", "output": f"the sum {i}"}) + "\n" for i in range(40))
EXPERT = "specialization: bread\nexamples:\n  - Why is it flat?\n"
TINY = ["model=tiny", "quant=none", "trainer=cpu", "logger=none"]
FILES = {
    "rows.jsonl": ROWS,
    "three.jsonl": "".join(ROWS.splitlines(keepends=True)[:3]),
    "table.jsonl": "question;answer\nwhat;that\n",
    "numbers.jsonl": json.dumps([1, 2, 3]),
    "cut.json": json.dumps([{"instruction": "a", "output": "b"}])[:-3],
    "keys.jsonl": '{"foo": "x", "bar": "y"}\n' * 9,
    "prose.txt": "not rows at all\n",
    "empty.jsonl": "",
    "unrouted.jsonl": '{"instruction": "Why is it flat?", "output": "breads"}\n',
    "outputs/nothing-v1/note.txt": "no run",
    "afile": "",
    "conf/expert/ok.yaml": EXPERT,
    "conf/expert/half.yaml": "examples: [x]\n",
    "conf/expert/typo.yaml": EXPERT + "adaptor: x\n",
    "conf/expert/broken.yaml": "specialization: bread: water\n",
    "conf/expert/gone.yaml": EXPERT + "adapter: outputs/nothing\n",
    "conf/dataset/broken.yaml": "path: [a\n",
    "conf/dataset/half.yaml": "max_length: 10\n",
    "conf/model/broken.yaml": "weights: {repo\n",
    "conf/model/half.yaml": "gradient_checkpointing: true\n",
    "conf/expert/list.yaml": "- bread\n",
    "conf/expert/unnamed.yaml": "specialization: bread\nexamples: []\n",
    "conf/provider/broken.yaml": "\thost: x\n",
    "conf/provider/half.yaml": "models: {coding: x}\n",
    "conf/stage/broken.yaml": "lr: '1\n",
    "conf/stage/typo.yaml": "learning_rate: 1\n",
    "conf/gate/broken.yaml": "perplexity: {max_ratio: 0.9\n",
    "conf/experiment/broken.yaml": "a: b: c\n",
}
SCRIPTED = ["provider=scripted", "router=keyword"]
WRONG = [
    ("train", ["dataset.path=nothing.jsonl", *TINY], "no file 'nothing.jsonl'"),
    ("train", ["dataset.path=table.jsonl", *TINY], "rename 'table.jsonl' to end in .csv"),
    ("train", ["dataset.path=numbers.jsonl", *TINY], "expected one JSON object per line"),
    ("train", ["dataset.path=cut.json", *TINY], "the file cannot be read"),
    ("train", ["dataset.path=keys.jsonl", *TINY], "name your keys, dataset.columns="),
    ("validate", ["dataset.path=prose.txt", "model=tiny"], "expected one JSON object per line"),
    ("validate", ["dataset.path=empty.jsonl", "model=tiny"], "is empty (0 bytes)"),
    ("validate", ["dataset.path=conf", "model=tiny"], "holds no file that ends in .jsonl"),
    ("train", ["dataset=jsonl", *TINY], "dataset.path has no value"),
    ("train", ["dataset=jsnol"], "did you mean 'jsonl'"),
    ("train", ["--modle", "tiny"], "hafs train has no flag --modle"),
    ("train", ["--model"], "--model has no value"),
    ("train", ["tiny"], "'tiny' is not an override of hafs train"),
    ("train", ["name=my run"], "for example my_run"),
    ("train", ["name=../x"], "name is '../x'"),
    ("train", ["adapter.r=4,8"], "adapter.r has several values"),
    ("train", ["adapter.r=x"], "adapter.r is 'x'"),
    ("train", ["adapter.rank=8"], "there is no key 'adapter.rank'"),
    ("train", ["stage=main,main"], "lists 'main' twice"),
    ("train", ["stage=mian"], "did you mean 'main'"),
    ("train", ["model=owner/name", "quant=none", "dataset.path=rows.jsonl"], "owner/name"),
    ("train", ["model=no/folder/here", "quant=none", "dataset.path=rows.jsonl"], "no folder 'no/folder/here'"),
    ("train", ["model=my model", "quant=none", "dataset.path=rows.jsonl"], "model has no option 'my model'"),
    ("train", ["dataset=broken"], "conf/dataset/broken.yaml, line 2"),
    ("train", ["dataset=half"], "conf/dataset/half.yaml has no 'path'"),
    ("train", ["model=broken"], "conf/model/broken.yaml, line"),
    ("train", ["model=half"], "conf/model/half.yaml has no 'weights.repo'"),
    ("train", ["stage=broken"], "conf/stage/broken.yaml, line"),
    ("train", ["stage=typo"], "stages.typo (conf/stage/typo.yaml) has no 'learning_rate'"),
    ("train", ["experiment=broken"], "conf/experiment/broken.yaml, line 1"),
    ("train", ["resume=outputs/nothing-v1", *TINY], "is not a run folder"),
    ("train", ["api_key=sk-abcdefghijklmnopqrstu"], "contains a secret in plain text"),
    ("plan", ["model=nothing"], "model has no option 'nothing'"),
    ("plan", ["hardware=rtx9090"], "hardware has no option 'rtx9090'"),
    ("validate", ["dataset.path=nothing.jsonl", "model=tiny"], "no file 'nothing.jsonl'"),
    ("evaluate", ["name=nothing"], "there is no run 'nothing'"),
    ("evaluate", ["name=nothing-v1"], "there is no run 'nothing-v1'"),
    ("evaluate", ["nothing"], "'nothing' is not an override"),
    ("evaluate", ["gate=broken"], "conf/gate/broken.yaml, line"),
    ("register", ["name=nothing"], "there is no run 'nothing'"),
    ("promote", [], "no version was given"),
    ("promote", ["bread"], "'bread' is not a version"),
    ("revert", ["bread"], "bread"),
    ("export", [], "no model was given"),
    ("export", ["bread-v1"], "bread-v1"),
    ("export", ["bread-v1", "format=onnx"], "format is 'onnx'"),
    ("push", ["bread-v1"], "a model and an address"),
    ("push", ["bread-v1", "owner/repo"], "not an address on the hub"),
    ("new", [], "no kind and no name"),
    ("new", ["expert"], "is not a kind and a name"),
    ("new", ["exprt", "bread"], "did you mean 'expert'"),
    ("new", ["expert", "ok"], "exists, and is not replaced"),
    ("ask", [*SCRIPTED], "the question is empty"),
    ("ask", ["hi", "expert=nothing", *SCRIPTED], "expert has no option 'nothing'"),
    ("ask", ["hi", "expert=half", *SCRIPTED], "conf/expert/half.yaml has no 'specialization'"),
    ("ask", ["hi", "expert=typo", *SCRIPTED], "experts.typo (conf/expert/typo.yaml) has no 'adaptor'"),
    ("ask", ["hi", "expert=list", *SCRIPTED], "conf/expert/list.yaml holds a list"),
    ("ask", ["hi", "expert=unnamed", *SCRIPTED], "conf/expert/unnamed.yaml has no 'examples'"),
    ("ask", ["hi", "exprt=ok", *SCRIPTED], "there is no group or key 'exprt'"),
    ("ask", ["hi", "provider=openai", "router=keyword"], "OPENAI_API_KEY"),
    ("ask", ["hi", "expert=broken", *SCRIPTED], "conf/expert/broken.yaml, line 1"),
    ("ask", ["hi", "expert=gone", "provider=local", "router=keyword"], "needs the adapter 'outputs/nothing'"),
    ("ask", ["hi", "provider=broken", "router=keyword"], "conf/provider/broken.yaml, line 1"),
    ("ask", ["hi", "provider=half", "router=keyword"], "conf/provider/half.yaml has no 'host.base_url'"),
    ("serve", ["port=99999", *SCRIPTED], "port is 99999"),
    ("serve", ["expert=gone", "provider=local", "router=keyword", "port=0"], "needs the adapter 'outputs/nothing'"),
    ("dashboard", ["name=nothing"], "nothing"),
    ("models", ["show", "nothing-v1"], "nothing-v1"),
    ("backup", [], "target"),
    ("restore", [], "no model was given"),
    ("chat", ["conversation=nothing", *SCRIPTED], "nothing"),
    ("route", ["rows=nothing.jsonl", "router=keyword"], "nothing.jsonl"),
    ("route", ["rows=unrouted.jsonl", "router=keyword", "held_out=1"], "breads"),
    ("sample", ["name=nothing"], "there is no run 'nothing'"),
    ("mcp", ["provider=nothing"], "provider has no option 'nothing'"),
    ("providers", ["provider=half", "expert=general"], "conf/provider/half.yaml has no 'host.base_url'"),
    ("doctor", ["json=yes please"], "json"),
]


@pytest.fixture
def folder(here, monkeypatch, tmp_path_factory):
    """A folder with the files of somebody's first hour, and state of its own."""
    for name, text in FILES.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("HAFS_STATE", str(state))
    monkeypatch.delenv("HAFS_REGISTRY", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)  # which an earlier command of this process has set
    monkeypatch.setattr(SweepFolder, "current", None)
    return here


def run(monkeypatch, capsys, command, words):
    """Run a command in this process: exit code, standard error, seconds of processor time."""
    monkeypatch.setattr(sys, "argv", ["hafs", *words])
    monkeypatch.setattr(sys, "stdin", None)
    module = importlib.import_module(module_of(command))
    began = time.process_time()
    with pytest.raises(SystemExit) as end:
        (module.enter if command == "train" else module.main)()
    return end.value.code, capsys.readouterr().err, time.process_time() - began


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Libraries and the tiny model's tokenizer are loaded once, so that what is timed is hafs."""
    import hafs.evaluation.evaluation
    import hafs.providers.local
    import hafs.training.session  # noqa: F401
    from hafs.config import build, compose

    build(compose("train", ["model=tiny"]).model).tokenizer()


def check_answer(code, err, said):
    told = [line for line in err.splitlines() if line.startswith(("hafs: ", "-> "))]
    assert code == 2, err
    assert "Traceback" not in err
    assert "bug in hafs" not in err
    assert said in err
    assert [line[:3] for line in told[-2:]] == ["haf", "-> "], f"a line of what and a line of how: {err}"


@pytest.mark.parametrize(
    ("command", "words", "said"), WRONG, ids=[f"{command} {' '.join(words)}"[:60] for command, words, _ in WRONG]
)
def test_a_wrong_word_is_answered_with_what_and_how(folder, monkeypatch, capsys, command, words, said):
    code, err, seconds = run(monkeypatch, capsys, command, words)
    if os.environ.get("SHOW"):
        print(f"\n@@ {seconds:.2f} {command} {words}: {err}")
    check_answer(code, err, said)
    assert sum(line.startswith("hafs: ") for line in err.splitlines()) == 1, err
    assert seconds < 2, f"{seconds:.1f} s of processor time"  # under 1 s each on an idle machine


def test_every_command_is_tried():
    assert {command for command, _, _ in WRONG} == set(commands())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--model", "tny"], "did you mean 'tiny'"),
        (["ask", "hi", "expert=broken", *SCRIPTED], "conf/expert/broken.yaml, line 1"),
        (["tarin"], "did you mean 'train'"),
    ],
)
def test_a_fresh_process_answers_within_seconds(folder, words, said):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    typed = [sys.executable, "-m", "hafs", *words]
    done = subprocess.run(typed, capture_output=True, text=True, timeout=60, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check_answer(done.returncode, done.stderr, said)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3  # most of it is the interpreter's
