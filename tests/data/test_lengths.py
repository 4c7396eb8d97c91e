import pytest

from hafs.chat import Message, end_tokens, render
from hafs.core.errors import DataError
from hafs.data.huge_rows import count_tokens, fit_huge
from hafs.data.lengths import fit
from hafs.data.prepare import report

WORDS = " ".join(f"word{i}" for i in range(60))


def chat(*contents, system="Be brief."):
    turns = tuple(Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(contents))
    return (Message(role="system", content=system), *turns)


def fitted(tokenizer, conversation, max_length, overlong):
    whole = render(tokenizer, conversation)
    assert len(whole.tokens) > max_length
    found = fit(tokenizer, conversation, whole, max_length=max_length, overlong=overlong)
    for cut, done in found.samples:
        assert done == render(tokenizer, cut)
        assert len(done.tokens) <= max_length
        last = max(place for place, flag in enumerate(done.supervised) if flag)
        assert done.tokens[last] in end_tokens(tokenizer)
    return found, len(whole.tokens)


def test_reject_loses_every_token(tokenizer):
    found, tokens = fitted(tokenizer, chat(WORDS, "yes"), 64, "reject")
    assert found == ([], tokens)


def test_truncate_keeps_system_answer_and_the_end_of_the_question(tokenizer):
    found, tokens = fitted(tokenizer, chat(WORDS, "yes"), 64, "truncate")
    (cut, done), = found.samples  # fmt: skip
    assert cut[0].content == "Be brief."
    assert cut[2].content == "yes"
    assert WORDS.endswith(cut[1].content)
    assert found.lost == tokens - len(done.tokens) > 0
    assert len(done.tokens) >= 62


def test_truncate_never_cuts_an_answer(tokenizer):
    found, tokens = fitted(tokenizer, chat("why?", WORDS), 64, "truncate")
    assert found == ([], tokens)


def test_truncate_cuts_between_characters(tokenizer):
    found, _ = fitted(tokenizer, chat("🙂🧭日本語" * 30, "yes"), 64, "truncate")
    assert "\ufffd" not in found.samples[0][0][1].content


def test_truncated_plain_text_keeps_its_end(tokenizer):
    found, _ = fitted(tokenizer, (Message(role="text", content=WORDS),), 40, "truncate")
    assert found.samples[0][0][0].content.endswith("word59")


def test_split_cuts_a_chat_at_turn_borders_and_repeats_the_system_message(tokenizer):
    conversation = chat(*(f"{who}{i} one two three four five" for i in range(8) for who in ("q", "a")))
    found, _ = fitted(tokenizer, conversation, 80, "split")
    assert len(found.samples) > 2
    assert found.lost == 0
    assert all(cut[0].content == "Be brief." and cut[1].role == "user" for cut, _ in found.samples)
    assert tuple(m for cut, _ in found.samples for m in cut[1:]) == conversation[1:]


def test_split_counts_an_exchange_that_fits_nowhere(tokenizer):
    found, _ = fitted(tokenizer, chat("a", "b", "c", WORDS, "d", "e"), 64, "split")
    assert [cut[1].content for cut, _ in found.samples] == ["a", "d"]
    assert found.lost > 64


@pytest.mark.parametrize("text", [WORDS, "🙂🧭日本語" * 40])
def test_split_plain_text_loses_nothing(tokenizer, text):
    found, _ = fitted(tokenizer, (Message(role="text", content=text),), 40, "split")
    assert "".join(cut[0].content for cut, _ in found.samples) == text
    assert len(found.samples) > 2


def huge_cases():
    text = " ".join(f"word{i % 977}" for i in range(60_000))
    return {"text": (Message(role="text", content=text),), "question": chat(text, "yes"), "answer": chat("why?", text),
            "long chat": chat(*([f"q {WORDS}", f"a {WORDS}"] * 400), "last question", "last answer")}  # fmt: skip


@pytest.mark.parametrize(("case", "overlong", "count"), [
    ("text", "reject", 0), ("text", "truncate", 1), ("text", "split", 1000),
    ("question", "truncate", 1), ("question", "split", 0), ("answer", "truncate", 0),
    ("long chat", "split", 401), ("long chat", "reject", 0),
])  # fmt: skip
def test_huge_rows_are_fitted_in_slices(tokenizer, case, overlong, count):
    conversation = huge_cases()[case]
    found = fit_huge(tokenizer, conversation, max_length=512, overlong=overlong)
    total = count_tokens(tokenizer, conversation)
    kept = sum(count_tokens(tokenizer, cut) for cut, _ in found.samples)
    assert found.lost == max(0, total - kept)
    assert bool(found.samples) == bool(count)
    if case == "text" and overlong == "split":
        assert "".join(cut[0].content for cut, _ in found.samples) == conversation[0].content
        assert found.lost < 0.001 * total
    elif count:
        assert len(found.samples) == count
    assert all(len(done.tokens) <= 512 and done == render(tokenizer, cut) for cut, done in found.samples[:20])


def test_huge_rows_of_few_tokens_are_left_to_the_usual_way(tokenizer):
    assert fit_huge(tokenizer, chat("a" + " " * 250_000, "b"), max_length=100_000, overlong="reject") is None


def test_rows_that_are_too_long_come_with_the_max_length_that_includes_them(write, described, tokenizer, here):
    counts = [20] * 15 + [300] * 4 + [700]
    rows = [{"instruction": f"Question {n}?", "output": "word " * count} for n, count in enumerate(counts)]
    found = report(described(write(rows), max_rejected=0.1), tokenizer, seed=7, cache=here / "cache")
    assert found.rejected == {"too_long": 5}
    assert "5 rows are longer than max_length: dataset.max_length=768 all" in found.notes
    with pytest.raises(DataError) as refused:
        found.raise_refusal()
    assert "dataset.max_length=768 includes them" in refused.value.hint
    longer = report(described("rows.jsonl", max_length=768, max_rejected=0.1), tokenizer, seed=7, cache=here / "cache")
    assert not longer.rejected and longer.refusal is None


def test_an_empty_validation_split_is_told(write, described, tokenizer, here):
    rows = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(60)]
    found = report(described(write(rows), val_fraction=0.0), tokenizer, seed=7, cache=here / "cache")
    assert "the validation split is empty, so no epoch is measured and the last one is kept" in found.notes
