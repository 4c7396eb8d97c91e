"""The plan command: what it says, what it proposes, and how fast it is."""

import json
import os
import subprocess
import sys
import time

import pytest
from tiny_runs import write_rows

from hafs.commands.plan import UNUSED, Settings
from hafs.config import check, compose
from hafs.core.errors import ConfigError
from hafs.modeling.hardware.detect import cards
from hafs.planning.plan_builder import PlanBuilder

CARDS = ["rtx5060ti_16gb", "rtx4060ti_16gb", "rtx3090_24gb", "rtx4090_24gb", "l40s_48gb", "a100_80gb", "h100_80gb"]
HARDWARE = [*CARDS, "h200", "t4_16gb", "apple_m_series", "cpu", "local"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def planned(*words):
    config = compose("plan", [*words, "calibration=null"])
    check(config, Settings, unused=UNUSED)
    return PlanBuilder(config)


def typed(*words, here):
    command = [sys.executable, "-m", "hafs", "plan", *words]
    return subprocess.run(command, cwd=here, env=ONE_THREAD, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", HARDWARE)
def test_every_hardware_plans_the_14b(name, here):
    plan = planned("model=qwen14b", f"hardware={name}").plan
    assert plan.total == sum(term.bytes for term in plan.terms)
    assert plan.duration.best <= plan.duration.usual <= plan.duration.worst
    known = plan.asked.hardware
    assert plan.asked.setup.product_bytes == (2 if known.bf16 or known.fp16 else 4)
    assert plan.asked.setup.flash is (known.device == "cuda" and known.bf16 is not None)


def test_a_14b_fits_a_t4_in_fp16_and_hardly_in_fp32(here):
    half, full = (planned("model=qwen14b", "hardware=t4_16gb", *more).plan for more in ([], ["precision=fp32"]))
    assert (half.verdict, full.verdict) == ("feasible", "marginal")
    assert "float16" in half.asked.precision
    assert half.duration.usual < full.duration.usual / 3


def test_the_shipped_hardware_is_what_the_issue_names():
    assert sorted(card.name for card in cards()) == sorted(name for name in HARDWARE if name != "local")


def test_a_14b_in_four_bits_fits_16_gb_and_a_32b_does_not(here):
    assert planned("model=qwen14b", "hardware=rtx5060ti_16gb").plan.verdict == "feasible"
    assert planned("model=qwen32b", "hardware=rtx5060ti_16gb").plan.verdict == "infeasible"


@pytest.mark.parametrize(
    "words",
    [
        ["model=qwen32b", "hardware=rtx5060ti_16gb"],
        ["model=qwen14b", "hardware=rtx5060ti_16gb", "adapter.r=128"],
        ["model=qwen14b", "adapter=none", "hardware=rtx5060ti_16gb"],
        ["model=qwen32b", "hardware=t4_16gb", "dataset.max_length=512"],
    ],
)
def test_every_configuration_that_is_listed_fits_when_its_overrides_are_typed(words, here):
    builder = planned(*words)
    fits = builder.fits()
    assert fits
    for fit in fits:
        again = planned(*[word for word in words if word.split("=")[0] not in _keys(fit)], *fit.overrides).plan
        assert again.verdict == "feasible", fit.overrides
        assert again.total == pytest.approx(fit.plan.total, rel=0.02), fit.overrides
        assert fit.times == pytest.approx(again.duration.usual / builder.plan.duration.usual, rel=0.1)


def _keys(fit):
    return {word.split("=")[0] for word in fit.overrides}


def test_full_training_of_a_quantized_base_is_planned_without_quantization_and_says_so(here):
    builder = planned("model=qwen1_5b", "adapter=none", "hardware=h200")
    assert "quant=none" in builder.note
    assert builder.plan.asked.quant == "none"


def test_without_a_stage_there_is_nothing_to_plan(here):
    with pytest.raises(ConfigError, match="no stage"):
        planned("stage=[]")


def test_tokens_are_those_that_validation_counted(here):
    from hafs.config import build
    from hafs.data.prepare import report
    from hafs.modeling.weights import cache_folder

    write_rows(here / "rows.jsonl", count=60)
    with (here / "rows.jsonl").open("a") as file:  # or the cache knows the rows from the last time
        file.write(json.dumps({"instruction": f"seen at {time.time()}", "output": "never before"}) + "\n")
    words = ["model=tiny", "dataset=jsonl", "dataset.path=rows.jsonl", "stage=main"]
    guessed = planned(*words).plan
    assert "estimated" in guessed.asked.load.source
    config = compose("train", words)
    counted = report(
        build(config.dataset), build(config.model).tokenizer(), seed=config.seed, cache=cache_folder() / "datasets"
    )
    known = planned(*words).plan
    assert known.asked.load.source == "counted"
    assert 49 <= counted.splits["train"].samples <= 56  # 7 steps of 8, repeated until there are 60
    assert known.duration.tokens == 9 * counted.splits["train"].tokens
    assert guessed.duration.tokens == pytest.approx(known.duration.tokens, rel=0.5)
    assert "another model" in planned(*words, "model=qwen7b").plan.asked.load.source


def test_a_plan_is_quick_and_loads_neither_torch_nor_weights(here):
    code = (
        "import sys, time; began = time.process_time(); from hafs.commands.plan import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('SECONDS', time.process_time() - began)\n"
        "assert not {'torch', 'transformers', 'pytorch_lightning', 'peft'} & set(sys.modules)"
    )
    words = ["model=qwen32b", "hardware=rtx5060ti_16gb"]
    out = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=here, env=ONE_THREAD, capture_output=True, text=True, check=True
    )
    assert float(out.stdout.split("SECONDS")[1]) < 2.0
    assert "hardware=rtx4090_24gb" in out.stdout
    assert "infeasible" in out.stdout


def test_json_and_a_sweep_with_one_table_at_the_end(here):
    one = typed("model=qwen14b", "hardware=h200", "json=true", here=here)
    facts = json.loads(one.stdout)
    assert facts["verdict"] == "feasible"
    assert facts["usd"]["usual"] > 0
    many = typed("-m", "model=qwen14b,qwen32b", "hardware=rtx5060ti_16gb,h200", "adapter.r=8,16", here=here)
    assert many.returncode == 0, many.stderr
    assert many.stdout.count("│ qwen14b │") == 4
    assert many.stdout.count("infeasible") == 2
    assert typed("hardware=rtx5060", here=here).stderr.splitlines()[0] == "hafs: hardware has no option 'rtx5060'"


def test_a_sweep_of_one_job_has_its_table_and_a_refused_one_has_none(here):
    assert "qwen14b" in typed("-m", "model=qwen14b", here=here).stdout
    refused = typed("-m", "hardware=h200,nix", here=here)
    assert (refused.returncode, refused.stdout) == (2, "")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hardware=rtx9090", "hardware has no option 'rtx9090'"),
        ("hardware.memory_gib=0", "hardware.memory_gib is 0"),
        ("adapter.r=-3", "adapter.r is -3"),
        ("name=../x", "name is '../x'"),
        ("stage=", "there is no stage to plan"),
        ("dataset.path=nothing.jsonl", "dataset 'nothing': no file 'nothing.jsonl'"),
        ("calibrations", "what is 'calibrations'"),
        ("calibration=nothing.json", "calibration file 'nothing.json' contains no measurement"),
    ],
)
def test_wrong_overrides_are_one_line_and_exit_code_2(here, monkeypatch, capsys, word, said):
    from hafs.commands.plan import main

    monkeypatch.setattr(sys, "argv", ["hafs plan", word])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr()
    assert (left.value.code, told.out) == (2, "")
    assert told.err.startswith(f"hafs: {said}")
    assert len(told.err.splitlines()) <= 2
