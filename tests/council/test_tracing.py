"""A tracer sees router, experts, attempts and synthesizer as runs below the council's own."""

import asyncio
from functools import reduce
from operator import add

import pytest
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.tracers import BaseTracer

ONE = "How do I use lda and sta in a subroutine?"
TWO = "Why does my routine with lda and sta crash with an error?"
MODES = ["invoke", "stream", "ainvoke", "astream"]


class Tree(BaseTracer):
    """LangChain's own tracer, which keeps the runs."""

    def __init__(self):
        super().__init__()
        self.roots = []

    def _persist_run(self, run):
        self.roots.append(run)


def ask(model, mode, question, **config):
    async def streamed():
        return reduce(add, [chunk async for chunk in model.astream(question, config)])

    match mode:
        case "invoke":
            return model.invoke(question, config)
        case "stream":
            return reduce(add, model.stream(question, config))
        case "ainvoke":
            return asyncio.run(model.ainvoke(question, config))
        case _:
            return asyncio.run(streamed())


def shape(run):
    """A run's name and type, and those below it."""
    return (run.name, run.run_type, [shape(child) for child in run.child_runs])


def runs_of(run):
    return [run, *(below for child in run.child_runs for below in runs_of(child))]


@pytest.mark.parametrize("mode", MODES)
def test_router_experts_attempts_and_synthesizer_are_nested_runs(seat, mode):
    tree = Tree()
    message = ask(seat(), mode, TWO, callbacks=[tree], tags=["mine"], metadata={"user": "u1"})
    [root] = tree.roots
    attempt = ("scripted/scripted", "llm", [])
    name, kind, [router, *experts, synthesizer] = shape(root)
    assert (name, kind) == ("Council", "llm")
    assert router == ("router keyword", "chain", [])
    assert sorted(experts) == [("expert asm", "chain", [attempt]), ("expert debug", "chain", [attempt])]
    assert synthesizer == ("synthesizer llm", "chain", [attempt])
    for run in runs_of(root):
        assert run.end_time and run.error is None and "mine" in run.tags
        assert run.trace_id == root.id and run.extra["metadata"]["user"] == "u1"
    assert root.child_runs[-1].outputs["answer"] == message.text
    assert [r.extra["metadata"]["hafs"] for r in root.child_runs] == ["router", "expert", "expert", "synthesizer"]


@pytest.mark.parametrize("mode", MODES)
def test_an_attempt_that_fails_is_a_run_that_failed(seat, mode):
    tree = Tree()
    words = ["expert=general", "provider.scripted.host.faults=[overloaded]", "policy.backoff_seconds=0.01"]
    ask(seat(*words), mode, ONE, callbacks=[tree])
    [_, expert] = tree.roots[0].child_runs
    first, second = expert.child_runs
    assert "overloaded" in first.error and second.error is None and expert.error is None
    assert [a.extra["metadata"]["attempt"] for a in (first, second)] == [1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_an_attempt_that_was_too_slow_is_ended(seat, mode):
    tree = Tree()
    words = ["expert=general", "provider.scripted.host.faults=[hang]", "policy.backoff_seconds=0.01"]
    words += ["policy.first_token_seconds=0.2", "policy.deadline_seconds=1.5", "policy.attempt_seconds=0.2"]
    with pytest.raises(Exception, match=r"no (complete )?answer|no provider"):
        ask(seat(*words, "provider.scripted.host.repeat_faults=true"), mode, ONE, callbacks=[tree])
    [root] = tree.roots
    assert all(run.end_time for run in runs_of(root)) and root.error
    attempts = [run for run in runs_of(root) if run.name == "scripted/scripted"]
    assert attempts and all(run.error for run in attempts)


def test_a_router_that_asks_a_model_has_its_call_below_it(seat):
    tree = Tree()
    seat("router=llm").invoke(TWO, {"callbacks": [tree]})
    router = tree.roots[0].child_runs[0]
    [call] = router.child_runs
    assert (router.name, call.name) == ("router llm", "Failover")
    assert [attempt.name for attempt in call.child_runs] == ["scripted/scripted"]


class Tokens(BaseCallbackHandler):
    """What the outermost run streams, and what those below it do."""

    def __init__(self):
        self.said, self.outermost = {}, None

    def on_chat_model_start(self, serialized, messages, *, run_id, parent_run_id=None, **kwargs):
        if parent_run_id is None:
            self.outermost = run_id

    def on_llm_new_token(self, token, *, run_id, **kwargs):
        self.said.setdefault(run_id, []).append(token)


@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_tokens_are_reported_in_the_run_of_the_attempt_and_in_the_outermost(seat, mode):
    heard = Tokens()
    message = ask(seat("expert=general"), mode, ONE, callbacks=[heard])
    assert len(heard.said) == 2
    assert {"".join(tokens) for tokens in heard.said.values()} == {message.text}


def test_events_show_each_part_and_stream_the_answer(seat):
    async def events():
        return [event async for event in seat().astream_events(TWO, version="v2")]

    found = asyncio.run(events())
    began = {event["name"] for event in found if event["event"].endswith("_start")}
    assert began == {"Council", "router keyword", "expert asm", "expert debug", "synthesizer llm", "scripted/scripted"}
    assert [event for event in found if event["event"] == "on_chat_model_stream" and event["name"] == "Council"]


def test_a_chain_that_the_council_is_part_of_has_one_tree(seat):
    from langchain_core.output_parsers import StrOutputParser

    tree = Tree()
    chain = seat("expert=general") | StrOutputParser()
    chain.invoke(ONE, {"callbacks": [tree]})
    assert "".join(chain.stream(ONE, {"callbacks": [tree]}))
    for root in tree.roots:
        council = root.child_runs[0]
        assert [child.name for child in council.child_runs] == ["router keyword", "expert general"]
    assert len(tree.roots) == 2


def test_a_langgraph_agent_streams_each_token_once(seat):
    graph = pytest.importorskip("langgraph.graph")
    model = seat("expert=general")
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(graph.START, "answer")
    builder.add_edge("answer", graph.END)
    asked = {"messages": [("user", ONE)]}
    pieces = [piece.text for piece, _ in builder.compile().stream(asked, stream_mode="messages")]
    assert "".join(pieces) == model.invoke(ONE).text


def test_tokens_are_counted_once(seat):
    with get_usage_metadata_callback() as counted:
        message = seat("expert=general").invoke(ONE)
    [(name, usage)] = counted.usage_metadata.items()
    assert name == "hafs-council" and usage["total_tokens"] == message.usage_metadata["total_tokens"]


def test_without_a_tracer_no_run_is_created(seat, monkeypatch):
    monkeypatch.setattr("hafs.providers.tracing._child", lambda *_: pytest.fail("a run was prepared"))
    for mode in MODES:
        assert ask(seat(), mode, TWO).text
