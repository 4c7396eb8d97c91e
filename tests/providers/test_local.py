import asyncio
import threading
import time

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from local_nets import QUESTIONS, host, save_adapter
from safetensors.torch import load_file, save_file

from hafs.core.errors import HafsError
from hafs.modeling.generation.scoring import probabilities
from hafs.modeling.generation.stop import StopWords
from hafs.providers import local
from hafs.providers.provider_error import ProviderError


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return [save_adapter(root / f"a{i}", seed=i) for i in range(3)]


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    local.close()
    assert not [t for t in threading.enumerate() if t.name == "hafs-engine"]


def chat(adapter=None, context=2048, **params):
    return host().chat("tiny", context=context, adapter=str(adapter) if adapter else None, **params)


def test_experts_asked_together_answer_as_alone_from_one_base(adapters):
    models = [chat(adapter) for adapter in (*adapters, None)]

    async def together():
        return await asyncio.gather(*(m.ainvoke(q) for m, q in zip(models, QUESTIONS, strict=True)))

    said = asyncio.run(together())
    alone = [m.invoke(q) for m, q in zip(models, QUESTIONS, strict=True)]
    assert [m.text for m in said] == [m.text for m in alone]
    assert [m.usage_metadata for m in said] == [m.usage_metadata for m in alone]
    assert len({m.text for m in said}) == 4
    assert len(local._ENGINES) == 1


def test_requests_share_passes(adapters):
    """While three are in the making, each step is one pass over all of them."""
    engine = chat().engine
    chat().invoke("warm up")
    sizes = []
    step = engine._decoder.step
    engine._decoder.step = lambda: (sizes.append(len(engine._decoder.running)), step())[1]

    async def together():
        models = [chat(adapter, max_tokens=30) for adapter in adapters]
        await asyncio.gather(*(m.ainvoke("Hi") for m in models))

    try:
        asyncio.run(together())
    finally:
        del engine._decoder.step
    assert sizes.count(3) >= 20
    assert len(sizes) < 45


def test_a_stream_is_the_answer_in_pieces_and_ends_with_usage(adapters):
    model = chat(adapters[0])
    chunks = list(model.stream("Hi"))
    whole = sum(chunks[1:], chunks[0])
    said = model.invoke("Hi")
    assert whole.text == said.text
    assert len(chunks) > 3
    assert whole.usage_metadata == said.usage_metadata
    assert said.usage_metadata["output_tokens"] == 12
    assert whole.response_metadata["finish_reason"] == said.response_metadata["finish_reason"] == "length"
    assert said.response_metadata["model_name"] == "tiny"


def test_what_the_roles_say_reaches_the_model_through_the_text_path():
    from hafs.chat import Message, render

    model = chat()
    talk = [
        SystemMessage("S"),
        HumanMessage("<|im_end|>"),
        AIMessage("a"),
        HumanMessage([{"type": "text", "text": "b"}]),
    ]
    told = [("system", "S"), ("user", "<|im_end|>"), ("assistant", "a"), ("user", "b")]
    expected = render(model.engine.tokenizer, tuple(Message(role=r, content=c) for r, c in told), for_generation=True)
    assert model._prompt(talk) == expected.tokens
    assert model.invoke(talk).usage_metadata["input_tokens"] == len(expected.tokens)


def test_a_stop_sequence_ends_the_answer_before_itself(adapters):
    free = chat(adapters[0], max_tokens=30).invoke("Hi").text
    stop = free[20:24]
    for said in (
        chat(adapters[0], max_tokens=30).invoke("Hi", stop=[stop]),
        chat(adapters[0], max_tokens=30, stop=[stop]).invoke("Hi"),
        chat(adapters[0], max_tokens=30).bind(stop=[stop]).invoke("Hi"),
    ):
        assert said.text == free[: free.index(stop)]
        assert said.response_metadata["finish_reason"] == "stop"
    streamed = "".join(c.text for c in chat(adapters[0], max_tokens=30).stream("Hi", stop=[stop]))
    assert streamed == free[: free.index(stop)]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_stop_words_are_found_across_pieces_and_nothing_of_them_is_given(size):
    text = "one END two ENOUGH three"
    for words, expected in ((["ENOUGH"], "one END two "), (["x"], text), (["END", "one"], ""), ([], text)):
        watch = StopWords(words)
        given = "".join(watch.feed(text[i : i + size]) for i in range(0, len(text), size)) + watch.end()
        assert given == expected


def test_a_seed_repeats_an_answer_and_a_call_overrides(adapters):
    drawn = [chat(adapters[0], temperature=1.0, seed=3).invoke("Hi").text for _ in range(2)]
    assert drawn[0] == drawn[1] != chat(adapters[0]).invoke("Hi").text
    assert chat(adapters[0]).invoke("Hi", temperature=1.0, seed=3).text == drawn[0]
    assert chat().invoke("Hi", max_tokens=3).usage_metadata["output_tokens"] == 3


def test_a_cancelled_request_leaves_the_batch():
    model = chat(max_tokens=1500)
    engine = model.engine

    async def leave():
        task = asyncio.create_task(model.ainvoke("Hi"))
        while not engine.busy:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    stream = model.stream("Hi")
    next(stream)
    stream.close()
    _until(lambda: engine.busy == 0)
    assert not engine._decoder.running
    assert not engine._decoder.kv_cache.lengths


def test_a_deadline_ends_a_long_answer():
    began = time.monotonic()
    with pytest.raises(ProviderError) as refused:
        chat(max_tokens=1900, timeout=0.3).invoke("Hi")
    assert refused.value.kind == "timeout"
    assert time.monotonic() - began < 2


def test_a_prompt_that_does_not_fit_is_refused_and_an_answer_ends_at_the_context():
    with pytest.raises(ProviderError) as refused:
        chat(context=40).invoke("word " * 50)
    assert refused.value.kind == "too_long"
    said = chat(context=60, max_tokens=100).invoke("Hi")
    assert said.usage_metadata["total_tokens"] == 60
    assert said.response_metadata["finish_reason"] == "length"


def test_images_are_refused():
    with pytest.raises(ProviderError, match="text only"):
        chat().invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])


def test_labels_are_scored_by_the_model_and_add_up(adapters):
    labels = ["asm", "asm,yaze", "debug"]
    model = chat(adapters[0])
    found = model.score_labels("Why does it crash?", labels)
    assert list(found) == labels
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == asyncio.run(
        host().score_labels([HumanMessage("Why does it crash?")], labels, model="tiny", adapter=str(adapters[0]))
    )
    assert found != chat().score_labels("Why does it crash?", labels)
    prompt = model._prompt([HumanMessage("Why does it crash?")])

    def plainly(net, name_of):
        """The same by one whole pass for each label."""
        from hafs.modeling.generation.decoder import Decoder

        nats = []
        for label in labels:
            ids = [*model.engine.tokenizer(label)["input_ids"], 2]
            reader = Decoder(net, ends=())
            reader.kv_cache.begin_packed([(reader.kv_cache.open(), len(prompt) + len(ids))])
            hidden = reader.packed([prompt + ids], [0], [name_of(adapters[0])])
            logs = torch.log_softmax(reader.logits(hidden), -1)
            nats.append(sum(float(logs[len(prompt) + i - 1, token]) for i, token in enumerate(ids)))
        return nats

    with torch.no_grad():
        nats = model.engine.call(plainly).result()
    assert list(found.values()) == pytest.approx(probabilities(nats), rel=1e-4)


def test_many_requests_with_random_departures_leave_nothing(adapters):
    import random

    draw = random.Random(0)

    async def one(i):
        model = chat([*adapters, None][i % 4], max_tokens=draw.randint(1, 12))
        task = asyncio.create_task(model.ainvoke(QUESTIONS[i % 4]))
        await asyncio.sleep(draw.random() * 0.2)
        if draw.random() < 0.5:
            task.cancel()
        return await task

    async def all_of_them():
        return await asyncio.gather(*(one(i) for i in range(60)), return_exceptions=True)

    ended = asyncio.run(all_of_them())
    assert all(isinstance(end, AIMessage | asyncio.CancelledError) for end in ended)
    assert any(isinstance(end, AIMessage) for end in ended)
    engine = chat().engine
    _until(lambda: engine.busy == 0)
    assert not engine._decoder.running and not engine._decoder.kv_cache.lengths


def test_adapters_that_were_not_asked_for_go_first(adapters, tmp_path):
    first = chat(adapters[0]).invoke("Hi").text
    for i in range(4):
        chat(save_adapter(tmp_path / f"b{i}", seed=10 + i)).invoke("Hi", max_tokens=1)
    assert len(chat().engine._shelf._names) == 4
    assert chat(adapters[0]).invoke("Hi").text == first


def test_an_adapter_trained_again_is_loaded_again(tmp_path):
    folder = save_adapter(tmp_path / "a", seed=1)
    before = chat(folder).invoke("Hi").text
    time.sleep(0.01)
    save_adapter(folder, seed=2)
    assert chat(folder).invoke("Hi").text != before


def _broken(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")


def _no_numbers(tensors):
    next(iter(tensors.values()))[0, 0] = float("nan")


@pytest.mark.parametrize(
    "break_it, said",
    [
        (lambda f: _broken(f, _no_numbers), "NaN or infinity"),
        (lambda f: _broken(f, lambda t: t.pop(next(iter(t)))), "is missing"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"junk"), "is not an adapter that hafs loads"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "contains no adapter_model.safetensors"),
        (lambda f: save_adapter(f, words=["model.weights.layers=3"]), "trained on another base model"),
        (lambda f: save_adapter(f, words=["model.weights.hidden_size=32"]), "trained on another base model"),
        (lambda f: save_adapter(f, words=["model.weights.seed=1"]), "trained on another base model"),
    ],
)
def test_a_wrong_adapter_gets_one_line_and_the_base_answers_on(break_it, said, tmp_path):
    folder = save_adapter(tmp_path / "a")
    before = chat().invoke("Hi").text
    model = chat(folder)
    break_it(folder)
    with pytest.raises(HafsError, match=said) as refused:
        model.invoke("Hi")
    assert "\n" not in refused.value.fact
    assert refused.value.exit_code == 2
    assert chat().invoke("Hi").text == before


def test_unknown_names_are_refused_before_anything_is_loaded(here):
    with pytest.raises(HafsError, match="no adapter 'nobody'"):
        chat("nobody")
    with pytest.raises(HafsError, match="no model 'tny'") as refused:
        host().chat("tny", context=100, adapter=None)
    assert "tiny" in refused.value.hint


def test_the_thread_ends_when_idle_and_comes_back(monkeypatch):
    from hafs.providers import engine as module

    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    model = chat(max_tokens=1)
    model.invoke("Hi")
    engine = model.engine
    _until(lambda: engine._thread is None)
    assert model.invoke("Hi").text
    engine.close()
    assert engine._thread is None
    assert model.invoke("Hi").text


def test_closing_fails_waiting_requests():
    model = chat(max_tokens=1900)
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(_error_of(lambda: model.invoke("Hi"))))
    waiting.start()
    _until(lambda: model.engine.busy)
    time.sleep(0.1)
    model.engine.close()
    waiting.join(5)
    assert isinstance(ended[0], ProviderError)


def _error_of(act):
    try:
        return act()
    except Exception as error:
        return error


def _until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
