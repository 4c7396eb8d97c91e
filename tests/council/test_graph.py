import asyncio
import hashlib
import json
import subprocess
import sys
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser

from hafs.core import records
from hafs.core.errors import AllProvidersDown, ConfigError, HafsError
from hafs.council.receipt_terminal import show_receipt
from hafs.registry.registration import register_mixture
from hafs.registry.registry import GateRecord, Record, Registry

ONE = "How do I use lda and sta in a subroutine?"
TWO = "Why does my routine with lda and sta crash with an error?"
ECHO = "provider.scripted.host.otherwise='{question}'"


def receipt(message):
    return message.response_metadata["receipt"]


def test_one_confident_expert_answers_alone(seat):
    got = seat().invoke(ONE)
    assert got.text == f"A scripted answer to: {ONE}"
    told = receipt(got)
    assert [part["name"] for part in told["experts"]] == ["asm"]
    assert told["synthesizer"] is None
    assert told["routing"]["decided_by"] == "keyword"


def test_several_experts_answer_and_the_synthesizer_gets_quoted_data(seat):
    got = seat(ECHO).invoke(TWO)
    document = json.loads(got.text)
    assert document["question"] == TWO
    assert {answer["expert"] for answer in document["answers"]} == {"asm", "debug"}
    assert receipt(got)["synthesizer"]["name"] == "llm"
    assert receipt(got)["calls"] == 3
    assert got.usage_metadata["total_tokens"] == receipt(got)["input_tokens"] + receipt(got)["output_tokens"]


def test_the_default_expert_answers_if_no_expert_is_confident(seat):
    got = seat().invoke("Good morning!")
    assert receipt(got)["routing"]["picked"] == ["general"]
    assert receipt(got)["routing"]["decided_by"] == "default"


def test_an_expert_that_fails_is_reported_and_not_raised(seat):
    council = seat(ECHO, "provider.scripted.host.faults=[rejected]", "provider.scripted.host.repeat_faults=false")
    got = council.invoke(TWO)
    parts = receipt(got)["experts"]
    assert sorted(part["outcome"] == "answered" for part in parts) == [False, True]
    assert receipt(got)["synthesizer"] is None, "one answer stands, so nothing is merged"
    assert got.text == TWO


def test_the_synthesizer_is_told_which_expert_failed_and_why(seat):
    council = seat(ECHO, "provider.scripted.host.faults=[rejected]", "multi_threshold=0.5")
    got = council.invoke("Why does the lda routine crash in room 12 with a sprite? error, palette, entrance")
    document = json.loads(got.text)
    assert len(document["answers"]) == 2
    assert [failed["reason"] for failed in document["failed"]]
    assert "rejected" in document["failed"][0]["reason"]


def test_a_slow_expert_is_left_behind_at_its_deadline(seat):
    council = seat(
        "provider.scripted.host.token_seconds=0.02", "synthesizer=concat", "expert.asm.deadline_seconds=0.05"
    )
    began = time.perf_counter()
    got = council.invoke(TWO)
    assert time.perf_counter() - began < 2
    outcomes = {part["name"]: part["outcome"] for part in receipt(got)["experts"]}
    assert outcomes == {"debug": "answered", "asm": "no answer within 0.05 s"}


def test_experts_are_asked_at_the_same_time(seat):
    council = seat("provider.scripted.host.first_token_seconds=0.3", "synthesizer=concat")
    council.invoke(ONE)
    began = time.perf_counter()
    council.invoke(TWO)
    assert time.perf_counter() - began < 0.55


def test_the_best_answer_is_used_if_the_synthesizer_has_no_provider(seat):
    council = seat("provider.scripted.host.faults=[null,null,rejected]", ECHO)
    got = council.invoke(TWO)
    assert got.text == TWO
    assert "rejected" in receipt(got)["synthesizer"]["outcome"]


@pytest.mark.parametrize("question", [ONE, TWO])
def test_if_all_experts_fail_there_is_one_error_with_each_reason_and_a_receipt(seat, own_state, question):
    council = seat("provider.scripted.host.faults=[rejected]", "provider.scripted.host.repeat_faults=true")
    for count, ask in enumerate((council.invoke, lambda q: list(council.stream(q))), 1):
        with pytest.raises(AllProvidersDown, match="rejected") as raised:
            ask(question)
        assert raised.value.exit_code == 69
        assert raised.value.attempts
        written = [json.loads(path.read_text()) for path in (own_state / "outputs/council").glob("*.json")]
        assert len(written) == count
        assert all("rejected" in part["outcome"] for told in written for part in told["experts"])


@pytest.mark.parametrize("question", [ONE, TWO, "Hello!"])
def test_every_way_of_asking_gives_the_same_answer(seat, question):
    council = seat()
    whole = council.invoke(question)

    async def others():
        streamed = [chunk async for chunk in council.astream(question)]
        return [await council.ainvoke(question), (await council.abatch([question]))[0]], streamed

    awaited, streamed = asyncio.run(others())
    for got in [*awaited, council.batch([question])[0]]:
        assert got.text == whole.text
    for chunks in (list(council.stream(question)), streamed):
        joined = sum(chunks[1:], chunks[0])
        assert joined.text == whole.text
        assert joined.usage_metadata == whole.usage_metadata
        assert receipt(joined)["routing"]["picked"] == receipt(whole)["routing"]["picked"]
        assert joined.response_metadata["finish_reason"] == "stop"


def test_an_answer_streams_as_it_comes(seat):
    council = seat("provider.scripted.host.token_seconds=0.05")
    arrived = [(time.perf_counter(), chunk.text) for chunk in council.stream(ONE)]
    texts = [when for when, text in arrived if text]
    assert texts[-1] - texts[0] > 0.2


def test_it_is_part_of_a_chain(seat):
    assert (seat() | StrOutputParser()).invoke("Hello!") == "A scripted answer to: Hello!"


def test_the_whole_conversation_reaches_the_expert_and_the_last_question_routes(seat):
    council = seat(ECHO, "expert.asm.system='Be brief.'")
    got = council.invoke(
        [SystemMessage("You are kind."), HumanMessage("Why crash error?"), AIMessage("So."), HumanMessage(ONE)]
    )
    assert receipt(got)["routing"]["picked"] == ["asm"]
    assert got.text == ONE


def test_a_receipt_is_written_as_json_and_holds_no_word_of_the_conversation(seat, own_state):
    got = seat().invoke(f"{ONE} canary-4711")
    (path,) = (own_state / "outputs/council").glob("*.json")
    told = json.loads(path.read_text())
    assert told["experts"] == receipt(got)["experts"]
    assert "canary-4711" not in path.read_text()
    assert {"id", "time", "seconds", "routing", "experts", "input_tokens", "output_tokens", "cost"} <= told.keys()


def test_a_key_is_in_no_receipt_log_or_error(seat, own_state, monkeypatch, caplog):
    canary = "sk-" + "canary0123456789" * 2
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    council = seat("provider=openai,scripted", "provider.openai.host.base_url=http://127.0.0.1:9/v1")
    with caplog.at_level("DEBUG"):
        got = council.invoke(ONE)
        down = seat("provider=openai", "provider.openai.host.base_url=http://127.0.0.1:9/v1")
        with pytest.raises(AllProvidersDown) as raised:
            down.invoke(ONE)
    everything = [
        str(raised.value),
        repr(got),
        caplog.text,
        repr(council),
        *(p.read_text() for p in own_state.rglob("*.json*")),
    ]
    assert not any(canary in text for text in everything)


def test_tools_are_asked_of_the_best_expert_alone(seat):
    from langchain_core.tools import tool

    @tool
    def peek(address: str) -> str:
        """Read a byte."""
        return address

    got = seat().bind_tools([peek]).invoke(TWO)
    assert len(receipt(got)["experts"]) == 1


def test_cancelling_ends_the_running_calls(seat):
    council = seat("provider.scripted.host.first_token_seconds=30", "synthesizer=concat")

    async def go():
        before = len(asyncio.all_tasks())
        task = asyncio.create_task(council.ainvoke(TWO))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks()) - before

    assert asyncio.run(go()) == 0


def test_route_calls_no_expert(seat):
    council = seat("provider.scripted.host.faults=[failed]", "provider.scripted.host.repeat_faults=true")
    found = council.route(TWO)
    assert set(found.picked) == {"asm", "debug"}
    assert all(0 <= score <= 1 for score in found.scores.values())


def test_invalid_panels_are_refused_in_one_line(seat, tmp_path):
    with pytest.raises(ConfigError, match="expert has no option 'asmm'"):
        seat("expert=asmm")
    with pytest.raises(ConfigError, match="there is no expert"):
        seat("expert=")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        _ = seat("provider=openai").models
    with pytest.raises(ConfigError, match="expert 'asm' needs the adapter 'hyrule-asm'") as missing:
        _ = seat("provider=local").models
    assert "hafs register" in missing.value.hint and "expert.asm.adapter=null" in missing.value.hint


def test_importing_the_council_is_lazy():
    code = (
        "import sys, hafs; assert 'langchain_core' not in sys.modules; from hafs import council as c; print(c.__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "hafs.council"


def test_an_adapter_made_for_another_base_is_refused_before_anything_is_loaded(seat, own_state):
    folder = own_state / "outputs/big/adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    records.write_record(folder.parent / "run.json", {"config": {"model": {"name": "qwen14b"}}, "data": ""})
    words = [f"expert.asm.adapter={folder}", "expert=asm", "provider=local"]
    with pytest.raises(ConfigError, match="was made for 'qwen14b', the provider's model is 'smollm2_135m'"):
        _ = seat(*words).models
    assert seat(*words, "provider.local.models.coding=qwen14b").models["asm"].adapter == str(folder)


@pytest.fixture
def mixture(own_state):
    """A mixture of two registered models: one that an expert option is for, and one that none is for."""
    registry = Registry.open(own_state / "registry.toml")
    for name in ("hyrule-asm-v1", "cook-book-v1"):
        tensors, config = (hashlib.sha256(text.encode()).hexdigest() for text in (name, "{}"))
        record = Record(
            name=name, status="candidate", specialization=f"what {name} is for", base="tiny", base_sha256="",
            quant="none", adapter="", adapter_sha256=tensors, adapter_config_sha256=config, dataset="d",
            dataset_hash="", config_sha256="", trained="", registered="", gate=GateRecord(passed=True),
        )  # fmt: skip

        def write(folder, name=name):
            (folder / "adapter_model.safetensors").write_text(name)
            (folder / "adapter_config.json").write_text("{}")

        registry.add(record, write)
    models = ["hyrule-asm-v1", "cook-book-v1"]
    return register_mixture(registry, name="triforce-moe", experts=models, router="keyword", specialization=None)


def test_a_registered_mixture_answers_with_its_experts_behind_its_router(seat, mixture, own_state):
    registry = Registry.open(own_state / "registry.toml")
    with pytest.raises(HafsError, match="no version of 'triforce-moe' is in production"):
        seat("mixture=triforce-moe")
    registry.promote("triforce-moe-v1")
    council = seat("mixture=triforce-moe", "router=cascade", "expert.asm.max_tokens=7")
    assert list(council.panel.experts) == ["asm", "cook-book-v1"]
    assert (council.router.name, council.panel.default) == ("keyword", "asm")
    asm, cook = council.panel.experts.values()
    assert (asm.adapter, asm.max_tokens, cook.adapter) == ("hyrule-asm-v1", 7, "cook-book-v1")
    assert cook.specialization == "what cook-book-v1 is for"
    assert council.route("lda sta rts").picked == ("asm",)
    assert council.invoke("lda sta rts").text
    model = seat("mixture=triforce-moe-v1", "provider=local", "provider.local.models.coding=tiny").models["asm"]
    assert model.adapter == str(registry.adapter("hyrule-asm-v1"))


@pytest.mark.parametrize(("name", "said"), [("nothing", "is not in the registry"), ("hyrule-asm-v1", "is one model")])
def test_a_name_that_is_not_a_mixture_is_refused_in_one_line(seat, mixture, name, said):
    with pytest.raises(HafsError, match=said) as refused:
        seat(f"mixture={name}")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("adapter", "named"),
    [("/data/registry/hyrule-asm-v1", " with hyrule-asm-v1"), ("outputs/my-run/adapter", " with my-run"), (None, "")],
)
def test_the_receipt_names_the_adapter_that_answered(capsys, adapter, named):
    attempt = {"provider": "local", "model": "tiny", "outcome": "answered", "adapter": adapter}
    part = {"name": "asm", "outcome": "answered", "seconds": 1.0, "attempts": [attempt]}
    show_receipt({"experts": [part], "cost": 0, "input_tokens": 1, "output_tokens": 1, "seconds": 1.0})
    assert f"-- asm: local tiny{named}, 1.00 s" in capsys.readouterr().err


def test_the_synthesizer_gets_the_callers_system_prompt_and_the_conversation(seat, monkeypatch):
    heard = []
    chat = seat()
    host = chat.providers[0].host
    monkeypatch.setattr(type(host), "answer", lambda self, messages: heard.append(list(messages)) or "said")
    german = SystemMessage("Answer in German only.")
    before = [HumanMessage("I use ca65."), AIMessage("Good.")]
    for ask in (chat.invoke, lambda messages: list(chat.stream(messages))):
        heard.clear()
        ask([german, *before, HumanMessage(TWO)])
        merging = heard[-1]
        assert [message.type for message in merging] == ["system", "human", "ai", "human"]
        assert merging[0].text.startswith("You merge the answers")
        assert "Answer in German only." in merging[0].text
        assert [message.text for message in merging[1:3]] == ["I use ca65.", "Good."]
        assert json.loads(merging[3].text)["question"] == TWO


@pytest.mark.parametrize("mode", ["invoke", "stream"])
def test_the_deadline_of_the_policy_holds_for_a_panel(seat, mode):
    chat = seat("policy.deadline_seconds=1.5", "provider.scripted.host.token_seconds=0.05")
    chat.invoke(ONE)  # loads what it needs
    began = time.monotonic()
    if mode == "invoke":
        got = chat.invoke(TWO)
        assert got.text, "an answer of an expert stands where there is no time to merge"
    else:
        with pytest.raises(AllProvidersDown):
            list(chat.stream(TWO))
    assert time.monotonic() - began < 1.8
