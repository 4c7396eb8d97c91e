"""Sampling: who may be asked, what it may cost, what is kept, and what a kill loses (nothing)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import answer_server
import pytest
from langchain_core.messages import AIMessage
from tiny_runs import steps

from hafs.chat import Message
from hafs.commands.sample import Settings, sample
from hafs.config import build, check, compose
from hafs.core.errors import AllProvidersDown, ConfigError, RunError
from hafs.evaluation.metrics.exact_match import ExactMatch
from hafs.evaluation.sampling.asking import Asker, SampleRequest, as_messages
from hafs.evaluation.sampling.budget import Budget
from hafs.evaluation.sampling.checking import Proof
from hafs.evaluation.sampling.journal import AnswerJournal, SampledAnswer
from hafs.evaluation.sampling.keeping import keep
from hafs.evaluation.sampling.prompts import SamplingPrompt
from hafs.evaluation.sampling.sampler import Sampler, SamplingPlan
from hafs.providers.failover import failover


@pytest.fixture(autouse=True)
def own_state(monkeypatch, tmp_path):
    monkeypatch.setenv("HAFS_STATE", str(tmp_path / "state"))


def prompt(number, said="yes"):
    return SamplingPrompt(
        id=f"{number:016x}",
        conversation=(Message(role="user", content=f"question {number}"),),
        reference=(Message(role="assistant", content=said),),
        group=str(number),
        metadata={"split_group": f"family {number % 3}"},
    )


def answer(number, text, *, draw=0, ended=True, cost=0.0):
    return SampledAnswer(
        key=f"{number:016x}/{draw}", prompt=f"{number:016x}", draw=draw, text=text, calls=[], provider="p", model="m",
        cost=cost, tokens=10, seconds=0.1, time=0.0, ended=ended,
    )  # fmt: skip


# the command ----------------------------------------------------------------------------------------------------------


def command(*words):
    config = compose(
        "sample", ["dataset=jsonl", "dataset.name=jsonl", "dataset.path=rows.jsonl", "check=[exact_match]", *words]
    )
    check(config, Settings)
    sample(config)


@pytest.fixture
def rows(here):
    lines = [
        {"instruction": f"Say the word {i * 7} of list {i % 5}", "output": "red" if i % 2 else f"number {i}",
         "split_group": f"list {i % 10}"}
        for i in range(60)
    ]  # fmt: skip
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return here


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_right_answers_are_kept_with_their_origin_and_the_same_command_asks_nothing_again(rows, capsys):
    words = ("provider=scripted", "providers.scripted.host.otherwise=red", "near_duplicate_threshold=1.0")
    command(*words)
    folder = rows / "outputs/samples/jsonl"
    kept, asked = lines(folder / "rows.jsonl"), lines(folder / "answers.jsonl")
    assert kept
    assert all(row["messages"][-1] == {"role": "assistant", "content": "red"} for row in kept)
    origin = kept[0]["origin"]
    assert (origin["provider"], origin["check"], origin["cost"]) == ("scripted", "exact_match", 0.0)
    assert all(row["split_group"].startswith("list ") for row in kept)
    command(*words)
    assert lines(folder / "answers.jsonl") == asked
    assert "wrong" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"temperature: 0\.8 -> 0"):
        command(*words, "temperature=0")


def test_prompts_of_held_out_families_are_never_asked(rows):
    from hafs.data.prepare import prepare
    from hafs.modeling.weights import cache_folder

    config = compose("sample", ["dataset=jsonl", "dataset.path=rows.jsonl"])
    data = prepare(build(config.dataset), build(config.model).tokenizer(), seed=7, cache=cache_folder() / "datasets")
    held_out = {
        data.splits[name].metadata(i)["split_group"] for name in ("val", "test") for i in range(len(data.splits[name]))
    }
    command("provider=scripted", "providers.scripted.host.otherwise=red", "near_duplicate_threshold=1.0")
    kept = lines(rows / "outputs/samples/jsonl/rows.jsonl")
    assert held_out
    assert not held_out & {row["split_group"] for row in kept}


def test_prompts_of_the_task_suite_are_never_asked(rows, capsys):
    tasks = [{"prompt": f"Say the word {i * 7} of list {i % 5}"} for i in range(0, 60, 2)]
    (rows / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    command("provider=scripted", "rom_tasks=tasks.jsonl")
    keys = {answer["prompt"] for answer in lines(rows / "outputs/samples/jsonl/answers.jsonl")}
    command("provider=scripted", "rom_tasks=null", "folder=all")
    assert 0 < len(keys) < len({answer["prompt"] for answer in lines(rows / "all/answers.jsonl")})


def test_kept_rows_are_a_dataset_of_their_own_for_the_stage_verified(rows):
    from hafs.train import Settings as TrainSettings
    from hafs.train import train

    command("provider=scripted", "providers.scripted.host.otherwise=red", "near_duplicate_threshold=1.0")
    words = [
        "model=tiny", "quant=none", "dataset=verified", "stage=verified",
        "dataset.path=outputs/samples/*/rows.jsonl", "dataset.val_fraction=0",
        "dataset.test_fraction=0",
        "logger=none", "trainer=cpu", "show.prompts=0", "show.measured=0", "name=again", "experiment=none",
    ]  # fmt: skip
    config = compose("train", words)
    check(config, TrainSettings)
    train(config)
    kept = lines(rows / "outputs/samples/jsonl/rows.jsonl")
    trained = {sample for step in steps(rows / "outputs/again") for sample in step["samples"]}
    assert len(trained) == len(kept) > 5


def test_contradictory_options_are_refused(rows):
    with pytest.raises(ConfigError, match="neither a run nor a provider is given"):
        command()
    with pytest.raises(ConfigError, match="cannot be combined"):
        command("provider=scripted", "name=run")
    with pytest.raises(ConfigError, match="check=nothing"):
        command("provider=scripted", "check=[nothing]")
    with pytest.raises(ConfigError, match="check=judge needs a judge"):
        command("provider=scripted", "check=[judge]")


def test_a_json_schema_may_be_the_check(here):
    rows = [{"instruction": f"Name {i * 7}", "output": json.dumps({"name": f"n{i}"})} for i in range(40)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (here / "answer.json").write_text(
        '{"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}'
    )
    words = ("provider=scripted", "metrics=json_schema", "metrics.json_schema.path=answer.json", "check=[json_schema]",
             "near_duplicate_threshold=1.0")  # fmt: skip
    command(*words, "providers.scripted.host.otherwise='{\"name\": 5}'", "folder=wrong")
    command(*words, 'providers.scripted.host.otherwise=\'{"name": "x"}\'', "folder=right")
    assert not lines(here / "wrong/rows.jsonl")
    assert {row["origin"]["check"] for row in lines(here / "right/rows.jsonl")} == {"json_schema"}
    (here / "answer.json").write_text('{"type": 5}')
    with pytest.raises(ConfigError, match="is not a JSON schema"):
        command(*words, "folder=broken")


def test_a_judge_may_be_the_check_and_is_not_asked_again_after_an_interruption(rows, monkeypatch):
    from hafs.evaluation.sampling import choice

    asked, answered, patience = [], [], [30]

    def ask(prompts):
        asked.extend(prompts)
        if len(asked) > patience[0]:
            raise KeyboardInterrupt
        answered.extend(prompts)
        return ["A" if "<answer_b>\nred" in prompt else "B" for prompt in prompts]

    monkeypatch.setattr(choice, "asking", lambda *_: ask)
    words = ("provider=scripted", "providers.scripted.host.otherwise=red", "judge=pairwise", "check=[judge]",
             "near_duplicate_threshold=1.0")  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        command(*words)
    folder = rows / "outputs/samples/jsonl"
    assert lines(folder / "judgements.jsonl")
    with (folder / "judgements.jsonl").open("a") as file:
        file.write('{"key": "cut o')
    before = set(answered)
    asked.clear()
    patience[0] = 1000
    command(*words)
    assert before
    assert not before & set(asked)
    assert {row["origin"]["check"] for row in lines(folder / "rows.jsonl")} == {"judge"}


# what is kept ---------------------------------------------------------------------------------------------------------


def kept(*answers, right, threshold=0.85, apart=()):
    prompts = {p.id: p for p in map(prompt, range(9))}
    proven = [Proof(flag, "executes") for flag in right]
    return keep(list(answers), proven, prompts, threshold=threshold, apart=apart)


def test_the_shortest_right_answer_of_a_prompt_is_kept_and_paired_with_a_wrong_one():
    found = kept(
        answer(1, "a rather long right answer"), answer(1, "right", draw=1), answer(1, "wrong!", draw=2),
        answer(1, "cut off", draw=3, ended=False), right=[True, True, False, False],
    )  # fmt: skip
    assert [row["messages"][-1]["content"] for row in found.rows] == ["right"]
    assert (found.pairs[0]["chosen"][0]["content"], found.pairs[0]["rejected"][0]["content"]) == ("right", "wrong!")
    assert found.pairs[0]["prompt"] == [{"role": "user", "content": "question 1"}]
    assert found.rows[0]["split_group"] == "family 1"
    assert found.counts == {"right": 2, "wrong": 2, "longer": 1}


def test_echoes_and_near_duplicates_are_dropped():
    long = "the routine loads the byte at the address, adds the carry, and stores the sum in the same place again "
    found = kept(
        answer(1, "```asm\nquestion 1\n```"), answer(2, long + "a"), answer(3, long + "b"), right=[True] * 3,
        threshold=0.6,
    )  # fmt: skip
    assert found.counts["echo"] == 1
    assert found.counts["near_duplicate"] == 1
    assert len(found.rows) == 1
    held_out = (Message(role="user", content="question 2"), Message(role="assistant", content=long + "a"))
    assert not kept(answer(2, long + "a"), right=[True], apart=[held_out]).rows


def test_a_row_of_tool_calls_keeps_the_tools_and_the_calls():
    tools = ({"type": "function", "function": {"name": "open_rom", "parameters": {"type": "object"}}},)
    asked = SamplingPrompt(
        id="t", conversation=(Message(role="user", content="open it", tools=tools),),
        reference=(Message(role="assistant", content=""),), group="t", metadata={},
    )  # fmt: skip
    call = {"type": "function", "function": {"name": "open_rom", "arguments": {"path": "a"}}}
    said = SampledAnswer(**{**vars(answer(1, "")), "prompt": "t", "calls": [call]})
    (row,) = keep([said], [Proof(True, "tool_calls")], {"t": asked}, threshold=0.85).rows
    assert row["tools"] == list(tools)
    assert row["messages"][-1]["tool_calls"] == [call]
    messages, bound = as_messages(asked.conversation)
    assert bound == list(tools)
    assert messages[0].content == "open it"


# what it costs --------------------------------------------------------------------------------------------------------


class Priced:
    """A model whose answers cost a cent each; it counts how many requests are on their way at a time."""

    def __init__(self, cost=0.01, fails=False):
        self.cost, self.fails, self.asked, self.now, self.most = cost, fails, 0, 0, 0

    async def ainvoke(self, messages):
        self.asked, self.now = self.asked + 1, self.now + 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        if self.fails:
            raise AllProvidersDown("nobody answers")
        return AIMessage(
            content="yes",
            usage_metadata={"input_tokens": 5, "output_tokens": 5, "total_tokens": 10},
            response_metadata={"provider": "p", "attempts": [{"outcome": "answered", "cost": self.cost}]},
        )


def asking(here, model, *, dollars=None, tokens=None, concurrency=8):
    journal = AnswerJournal(here / "answers.jsonl")
    return Asker(model, journal, Budget(dollars, tokens, journal.answers.values()), concurrency=concurrency), journal


@pytest.mark.parametrize("limit", [{"dollars": 0.105}, {"tokens": 105}])
def test_a_budget_is_never_exceeded_and_a_larger_one_continues(here, limit):
    questions = [SampleRequest(prompt(i), 0) for i in range(40)]
    model = Priced()
    asker, journal = asking(here, model, **limit)
    assert not asker.ask(questions)
    journal.close()
    assert model.asked == len(journal.answers) == 10
    more, journal = asking(here, model)
    assert more.ask(questions)
    assert model.asked == len(journal.answers) == 40
    assert model.most == 8


def test_a_budget_in_dollars_needs_a_provider_that_reports_costs(here):
    asker, journal = asking(here, Priced(cost="unknown"), dollars=1.0)
    with pytest.raises(ConfigError, match="does not say what an answer costs"):
        asker.ask([SampleRequest(prompt(1), 0)])
    assert len(journal.answers) == 1


def test_a_chain_that_is_down_ends_the_sampling_with_its_own_error(here):
    model = Priced(fails=True)
    asker, _ = asking(here, model)
    with pytest.raises(AllProvidersDown):
        asker.ask([SampleRequest(prompt(i), 0) for i in range(1000)])
    assert model.asked < 30


# kills ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(here):
    process = subprocess.Popen([sys.executable, answer_server.__file__, str(here)], stdout=subprocess.PIPE, text=True)
    try:
        yield here, f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.communicate()


def sampled(folder, url, prompts, k):
    """One run of the sampling, in this process."""
    words = ["provider=openai_compatible", f"providers.openai_compatible.host.base_url={url}"]
    provider = build(compose("ask", words).providers.openai_compatible)
    plan = SamplingPlan(
        k=k, rows=None, until_right=False, concurrency=16, dollars=None, tokens=None, threshold=0.85, settings={}
    )
    sampler = Sampler(
        folder, prompts, model=failover([provider], "coding"), metrics={"exact": ExactMatch()}, apart=(), plan=plan
    )
    sampler.run()
    sampler.close()


def numbers(here):
    log = here / "served"
    return [int(line.split("\t")[0]) for line in log.read_text().splitlines()] if log.exists() else []


def noted(folder):
    path = folder / "answers.jsonl"
    return (
        [int(row["text"].split()[1]) for row in map(json.loads, path.read_bytes().split(b"\n")[:-1])]
        if path.exists()
        else []
    )


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.long)])
def test_kills_lose_no_answer_and_ask_for_none_twice(served, kills):
    """At each kill the server holds its answers back, so what is paid is known: all of it is in the journal."""
    here, url = served
    prompts, k, chance = [prompt(i) for i in range(20 * kills)], 2, Random(1)
    for _ in range(kills):
        child = os.fork()
        if not child:
            sampled(here / "samples", url, prompts, k)
            os._exit(0)
        before = len(numbers(here))
        while len(numbers(here)) < before + 1 + 25 * chance.random():
            time.sleep(0.002)
        (here / "pause").touch()
        wait = time.monotonic() + 10
        while sorted(noted(here / "samples")) != sorted(numbers(here)) and time.monotonic() < wait:
            time.sleep(0.01)
        assert sorted(noted(here / "samples")) == sorted(numbers(here))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (here / "pause").unlink()
    sampled(here / "samples", url, prompts, k)
    assert sorted(noted(here / "samples")) == sorted(numbers(here))
    assert len(numbers(here)) == k * len(prompts)


def test_a_line_that_a_kill_cut_off_is_asked_again_and_no_other(here):
    journal = AnswerJournal(here / "answers.jsonl")
    for number in range(3):
        journal.note(answer(number, "said"))
    journal.close()
    path = here / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = AnswerJournal(path)
    assert [a.prompt[-1] for a in again.answers.values()] == ["0", "1"]
    again.note(answer(2, "said again"))
    again.close()
    assert len(AnswerJournal(path).answers) == 3
