"""Every form of an export is the original, or is removed."""

import json
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_registration import go, make_run
from tiny_runs import write_rows

from hafs.commands import export, promote, register
from hafs.core.errors import GateRefused, HafsError
from hafs.registry import export as exports
from hafs.registry.export.compare import Partial, Place, distance
from hafs.registry.export.modelfile import modelfile
from hafs.registry.registry import Registry


def train_adapter(folder, model, scale=0.5, **fields):
    """An adapter with weights of its own on a tiny base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from hafs.config import build
    from hafs.modeling.base_folder import base_folder
    from hafs.modeling.base_model import quiet_libraries

    quiet_libraries()
    net = AutoModelForCausalLM.from_pretrained(base_folder(build(model)), dtype=torch.float32)
    torch.manual_seed(1)
    net = get_peft_model(net, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", **fields))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale)
    net.save_pretrained(folder)


def put(here, *model_words, quant="none", **fields):
    """A base with a real adapter in a registry."""
    from omegaconf import OmegaConf

    from hafs.config import compose
    from hafs.core import durable, records
    from hafs.data.prepare import prepare
    from hafs.modeling.weights import cache_folder
    from hafs.registry.registration import finished_run

    write_rows(here / "rows.jsonl", count=200)
    folder = make_run(here, evaluated=False)
    recorded = records.read_record(folder / "run.json")
    chosen = compose("train", [*model_words, f"quant={quant}"])
    for group in ("model", "quant"):
        recorded["config"][group] = OmegaConf.to_container(chosen[group], resolve=True)
    durable.commit(folder / "adapter", lambda draft: train_adapter(draft, chosen.model, **fields))
    records.write_record(folder / "run.json", recorded)
    run = finished_run("hyrule-asm-v1")
    recorded["data"] = prepare(
        run.dataset, run.model.tokenizer(), seed=recorded["config"]["seed"], cache=cache_folder() / "datasets"
    ).fingerprint
    records.write_record(folder / "run.json", recorded)
    go(register, "name=hyrule-asm-v1", "force=true")
    return Registry.open("mine.toml")


@pytest.fixture(params=["llama", "qwen2"])
def registered(request, here):
    """A tiny model of each architecture."""
    return put(here, "model=tiny", f"model.weights.architecture={request.param}")


FILES = {
    "merged": {"model.safetensors", "config.json", "tokenizer.json"},
    "gguf": {"hyrule-asm-v1.gguf"},
    "lora_gguf": {"hyrule-asm-v1.lora.gguf"},
    "ollama": {"Modelfile", "base.gguf", "hyrule-asm-v1.lora.gguf"},
    "vllm": {"serve.sh", "hyrule-asm-v1"},
}


@pytest.mark.parametrize("registered", ["qwen2"], indirect=True)
def test_a_qwen2_is_served_as_gguf_and_is_the_original(registered, here):
    for form in ("gguf", "lora_gguf"):
        go(export, "model_name=hyrule-asm-v1", f"format={form}")
        found = json.loads((here / f"outputs/exports/hyrule-asm-v1/{form}/export.json").read_text())["distance"]
        assert abs(found["kl"]) <= 0.01


@pytest.mark.parametrize("registered", ["llama", pytest.param("qwen2", marks=pytest.mark.long)], indirect=True)
def test_every_form_is_written_and_is_the_original(registered, here, capsys):
    for form, files in FILES.items():
        go(export, "model_name=hyrule-asm-v1", f"format={form}")
        folder = here / "outputs/exports/hyrule-asm-v1" / form
        assert files <= {path.name for path in folder.iterdir()}, form
        found = json.loads((folder / "export.json").read_text())["distance"]
        assert 0 <= abs(found["kl"]) <= 0.01, form
    said = capsys.readouterr().out
    assert said.count("token ids of 6 golden conversations are equal") == 5
    assert said.count("token ids of 3 golden conversations with tools are equal") == 5
    assert "-> ollama create hyrule-asm-v1 -f outputs/exports/hyrule-asm-v1/ollama/Modelfile" in said
    merged = load_file(here / "outputs/exports/hyrule-asm-v1/merged/model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}
    assert not any("lora" in name for name in merged)
    modelfile = (here / "outputs/exports/hyrule-asm-v1/ollama/Modelfile").read_text()
    assert "ADAPTER ./hyrule-asm-v1.lora.gguf" in modelfile and 'PARAMETER stop "<|im_end|>"' in modelfile
    assert "--lora-modules hyrule-asm=./hyrule-asm-v1 hyrule-asm-v1=./hyrule-asm-v1" in (
        here / "outputs/exports/hyrule-asm-v1/vllm/serve.sh").read_text()  # fmt: skip


def test_one_vllm_server_serves_the_adapters_of_several_experts_under_the_names_they_ask_for(here, capsys):
    put(here, "model=tiny")
    go(register, "name=hyrule-asm-v1", "under=yaze-sage-v1", "force=true")
    for name in ("hyrule-asm-v1", "yaze-sage-v1"):
        go(promote, f"version={name}")
    go(export, "format=vllm", "expert=[asm,yaze]")
    folder = here / "outputs/exports/vllm"
    said = (folder / "serve.sh").read_text()
    assert "-> sh outputs/exports/vllm/serve.sh" in capsys.readouterr().out
    assert "--max-lora-rank 8 --max-loras 2 --max-cpu-loras 4" in said
    for family in ("hyrule-asm", "yaze-sage"):
        version = f"{family}-v1"
        assert f" {family}=./{version}/{version} {version}=./{version}/{version}" in said
        assert (folder / version / version / "adapter_config.json").is_file()
    assert subprocess.run(["sh", "-n", folder / "serve.sh"], check=False).returncode == 0


def test_several_experts_are_exported_for_vllm_only_and_need_adapters(here):
    for words, said in ((["expert=[asm,yaze]"], "for vLLM only"), (["format=vllm", "expert=[general]"], "no chosen")):
        with pytest.raises(HafsError, match=said):
            go(export, *words)


def test_a_rank_stabilized_adapter_keeps_its_scale_in_every_form(here):
    put(here, "model=tiny", use_rslora=True, lora_alpha=8, scale=0.2)
    for form in ("merged", "lora_gguf", "vllm"):
        go(export, "model_name=hyrule-asm-v1", f"format={form}")


def test_dora_is_merged_and_rejected_for_programs_that_cannot_load_it(here, monkeypatch):
    put(here, "model=tiny", use_dora=True)
    go(export, "model_name=hyrule-asm-v1", "format=ollama", "ollama.adapter=false")
    folder = here / "outputs/exports/hyrule-asm-v1/ollama"
    assert {path.name for path in folder.glob("*.gguf")} == {"hyrule-asm-v1.gguf"}
    assert "ADAPTER" not in (folder / "Modelfile").read_text()
    monkeypatch.setattr(exports.nets, "original", lambda source: pytest.fail("loaded before it was refused"))
    for form, hint in (("lora_gguf", "format=gguf"), ("ollama", "ollama.adapter=false"), ("vllm", "format=merged")):
        with pytest.raises(HafsError, match="use_dora") as refused:
            go(export, "model_name=hyrule-asm-v1", f"format={form}")
        assert refused.value.exit_code == 2 and hint in refused.value.hint


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+ollama.parameters.temperatur=1", "no parameter 'temperatur'"),
        ("ollama.parameters.temperature=hot", "expected a number"),
        ("ollama.parameters.num_ctx=1.5", "expected a whole number"),
        ("+ollama.parameters.use_mmap=1", "expected true or false"),
    ],
)
def test_a_modelfile_that_ollama_would_refuse_is_not_written(here, word, said):
    put(here, "model=tiny")
    with pytest.raises(HafsError, match=said):
        go(export, "model_name=hyrule-asm-v1", "format=ollama", word)


def test_parameters_are_written_in_ollamas_words(here):
    put(here, "model=tiny")
    source = exports.source(Registry.open("mine.toml"), "hyrule-asm-v1")
    given = {"temperature": 0, "use_mmap": True, "stop": ["END"]}
    text = modelfile(source.model.tokenizer(), model="m.gguf", adapter=None, parameters=given)
    wanted = [
        "PARAMETER temperature 0",
        "PARAMETER use_mmap true",
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "END"',
    ]
    assert text.splitlines()[0] == "FROM ./m.gguf" and text.splitlines()[-4:] == wanted


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FILES)
def test_every_form_of_the_real_model_is_the_original(here, capsys, form):
    put(here, "model=smollm2_135m", quant="nf4", scale=0.02)
    go(export, "model_name=hyrule-asm-v1", f"format={form}")
    found = json.loads((here / "outputs/exports/hyrule-asm-v1" / form / "export.json").read_text())["distance"]
    assert abs(found["kl"]) <= 0.01
    assert found["prompts"] >= 30
    said = capsys.readouterr().out
    print(said)
    assert ("as trained on nf4" in said) == (form == "merged")


@pytest.mark.parametrize("registered", ["llama"], indirect=True)
def test_an_export_that_is_not_the_original_is_removed_and_the_one_before_stands(registered, here, monkeypatch):
    go(export, "model_name=hyrule-asm-v1")
    target = here / "outputs/exports/hyrule-asm-v1/merged"
    before = (target / "model.safetensors").read_bytes()
    write = exports.forms.Merged.write

    def spoiled(self, folder, net):
        write(self, folder, net)
        tensors = load_file(folder / "model.safetensors")
        save_file({k: v * 0 if "layers." in k else v for k, v in tensors.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip

    monkeypatch.setattr(exports.forms.Merged, "write", spoiled)
    with pytest.raises(GateRefused, match="mean KL") as refused:
        go(export, "model_name=hyrule-asm-v1")
    assert refused.value.exit_code == 4
    assert (target / "model.safetensors").read_bytes() == before
    with pytest.raises(GateRefused):
        go(export, "model_name=hyrule-asm-v1", "to=elsewhere")
    assert sorted(p.name for p in here.iterdir()) == ["mine", "mine.toml", "outputs", "rows.jsonl"]
    (here / "mine.txt").write_text("mine")
    with pytest.raises(HafsError, match="is not an export"):
        go(export, "model_name=hyrule-asm-v1", "to=mine")


def test_an_export_that_renders_tools_differently_is_refused_where_tools_were_trained():
    from types import SimpleNamespace

    from hafs.chat import Message, render
    from hafs.config import build, compose
    from hafs.registry.export.golden import with_tools

    tokenizer = build(compose("train", ["model=tiny"]).model).tokenizer()
    tokenizer.chat_template = (
        "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
        "<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    asked = with_tools(tokenizer)
    assert len(asked) == 3 and asked[0][0].tools
    ids = [render(tokenizer, prompt, for_generation=True).tokens for prompt in asked]
    tools = SimpleNamespace(held_out=[asked[0]])
    plain = SimpleNamespace(held_out=[(Message(role="user", content="?"),)])
    used = SimpleNamespace(tool_ids=ids)
    assert exports._tools(tools, "gguf", used, tokenizer) == "token ids of 3 golden conversations with tools are equal"
    assert "Ollama rejects them" in exports._tools(tools, "ollama", used, tokenizer)
    used.tool_ids = [*ids[:2], ids[2][1:]]
    assert exports._tools(plain, "gguf", used, tokenizer).endswith("so use it without tools")
    with pytest.raises(GateRefused, match="1 of 3 golden conversations with tools have other token ids"):
        exports._tools(tools, "gguf", used, tokenizer)


def test_distances_of_told_tokens_are_those_of_whole_distributions():
    torch.manual_seed(0)
    p, q = (torch.log_softmax(torch.randn(3, 50), -1) for _ in range(2))
    asked = [Place([i], 7) for i in range(3)]
    whole = distance(p, q, asked)
    told = distance(p, [Partial(nats={i: float(x) for i, x in enumerate(row)}) for row in q], asked)
    assert told.kl == pytest.approx(whole.kl, rel=1e-4)
    assert told.perplexity == pytest.approx(whole.perplexity, rel=1e-4)
    top = distance(p, [Partial(nats={int(i): float(row[i]) for i in row.topk(20).indices}) for row in q], asked)
    assert 0 < top.kl <= whole.kl
    assert distance(p, p, asked).kl == pytest.approx(0, abs=1e-6)
    assert distance(p, p, asked).perplexity_change == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model was given"),
        (["model_name=nothing"], "is not in the registry"),
        (["model_name=x", "limits.kl=-1"], "limits is .*greater than or equal to 0"),
        (["model_name=x", "ollama.adapter=maybe"], "ollama is .*valid boolean"),
    ],
)
def test_bad_words_get_one_line(here, words, said):
    with pytest.raises(HafsError, match=said):
        go(export, *words)
