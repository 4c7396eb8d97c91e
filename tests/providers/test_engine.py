"""Whatever goes wrong in the engine's thread, whoever waits for it hears of it at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from local_nets import host

from hafs.core.errors import HafsError
from hafs.modeling.generation import Decoder, Sampling
from hafs.providers import engine as module
from hafs.providers import local
from hafs.providers.engine import Engine
from hafs.providers.job import Job
from hafs.providers.provider_error import ProviderError

SOON = 20.0
"""Seconds, on a machine that is busy; whoever is forgotten waits for ever."""


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    local.close()
    assert not [t for t in threading.enumerate() if t.name == "hafs-engine"]


@pytest.fixture
def chat():
    return host().chat("tiny", context=2048, adapter=None, max_tokens=4)


def error_of(act):
    try:
        return act()
    except Exception as error:
        return error


def asked_together(model, count=3):
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(error_of, lambda: model.invoke("Hi")) for _ in range(count)]
        return [future.result(SOON) for future in futures]


def test_a_template_without_answers_fails_every_caller_and_loads_nothing(monkeypatch, chat):
    tokenizer = chat.engine.tokenizer
    template = "{% for m in messages if m.role != 'assistant' %}{{ m.role }}: {{ m.content }}{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    for error in asked_together(chat):
        assert isinstance(error, HafsError) and "leaves out what the assistant says" in error.fact
    assert chat.engine._net is None
    monkeypatch.undo()
    assert chat.invoke("Hi").usage_metadata["output_tokens"]


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ 1 + messages }}", "{% if %}"])
def test_a_template_error_reaches_its_caller(monkeypatch, chat, template):
    chat.invoke("Hi")
    monkeypatch.setattr(chat.engine.tokenizer, "chat_template", template)
    for error in asked_together(chat):
        assert isinstance(error, ProviderError) and "the chat template refuses" in error.said


def test_a_request_whose_callback_raises_fails_alone(chat):
    heard = []

    def deaf(said):
        raise ValueError("deaf")

    chat.invoke("Hi")
    jobs = [job(chat, tell) for tell in (deaf, heard.append, deaf)]
    for each in jobs:
        chat.engine.submit(each)
    _until(lambda: heard and heard[-1].finish)
    assert chat.invoke("Hi").text
    _until(lambda: not chat.engine.busy)


def test_a_pass_that_fails_ends_its_own_requests_and_the_others_go_on(monkeypatch, chat):
    """Of two rows and two that wait for room."""
    model = host(rows=2).chat("tiny", context=2048, adapter=None, max_tokens=4)
    model.invoke("Hi")
    decoder, heard = model.engine._decoder, [[] for _ in range(4)]
    held = threading.Event()
    model.engine.call(lambda *_: held.wait(SOON))
    for tell in heard:
        model.engine.submit(job(model, tell.append))

    def broken(*_):
        raise RuntimeError("no memory")

    decoder._pass = broken
    held.set()
    _until(lambda: all(said and (isinstance(said[-1], Exception) or said[-1].finish) for said in heard))
    assert ["no memory" in str(said[-1]) for said in heard] == [True, True, False, False]


def test_a_thread_that_dies_fails_every_caller_and_the_next_request_starts_another(monkeypatch, chat):
    chat.invoke("Hi")

    def fatal(self):
        raise SystemExit("from a library")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_step", fatal)
        for error in asked_together(chat):
            assert isinstance(error, ProviderError) and "from a library" in error.said
        _until(lambda: chat.engine._thread is None)
        assert isinstance(asked_together(chat, 1)[0], ProviderError)
    assert chat.invoke("Hi").text


def test_an_error_inside_the_error_handler_still_reaches_every_caller(monkeypatch, chat):
    chat.invoke("Hi")

    def broken(self, *_):
        raise RuntimeError("as such")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_step", broken)
        patch.setattr(Engine, "_new_decoder", broken)
        for error in asked_together(chat):
            assert isinstance(error, ProviderError) and "as such" in error.said
    assert chat.invoke("Hi").text


def test_a_thread_that_cannot_start_raises_and_is_retried(monkeypatch, chat):
    assert chat.engine.tokenizer

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(module.threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            chat.engine.submit(job(chat, print))
    assert chat.invoke("Hi").text


def test_a_cancelled_call_stops_no_other(chat):
    chat.invoke("Hi")
    held = threading.Event()
    first = chat.engine.call(lambda *_: held.wait(SOON))
    second = chat.engine.call(lambda *_: 2)
    third = chat.engine.call(lambda *_: 3)
    second.cancel()
    held.set()
    assert first.result(SOON) and third.result(SOON) == 3


def job(model, tell):
    prompt = model.engine.tokenizer("Hi there")["input_ids"]
    return Job(prompt, adapter=None, limit=4, sampling=Sampling(), stop=(), deadline=None, tell=tell)


def _until(true, seconds=SOON):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_where_memory_runs_out_fewer_requests_go_on_and_all_are_answered(monkeypatch, chat):
    expected = chat.invoke("Hi").content
    real, passes = Decoder._pass, []

    def limited(self, ids, *of):
        passes.append(len(self.running))
        if len(self.running) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return real(self, ids, *of)

    monkeypatch.setattr(Decoder, "_pass", limited)
    answers = asked_together(chat)
    assert [getattr(answer, "content", answer) for answer in answers] == [expected] * 3
    monkeypatch.undo()
    assert chat.invoke("Hi").content == expected
