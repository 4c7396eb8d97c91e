import numpy as np
import pytest

from hafs.data.prepare import prepare
from hafs.data.siblings import families, template_of

SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How much water for 500 g of flour at 70 %?", "How much water for 1,250 g of flour at 65%?"),
        ("What is the capital of New York?", "What is the capital of Peru?"),
        ("Explain what the label 'loop' is for.", "Explain what the label `wait_nmi` is for."),
        ("Reset the counter at $7E0010, please.", "Reset the counter at $1F, please."),
    ],
)
def test_questions_that_differ_in_numbers_and_names_have_one_template(one, other):
    assert template_of(one) is not None
    assert template_of(one) == template_of(other)


@pytest.mark.parametrize(
    "question", ["What is Bread?", "Add 3 to 4", "Why is my crumb gummy and wet?", "x" * 500 + " 1"]
)
def test_a_question_without_names_or_with_little_else_has_no_template(question):
    assert template_of(question) is None


def test_a_template_of_more_than_a_fifth_of_the_rows_is_the_task_itself():
    opening = np.arange(20, dtype=np.uint64)
    template = np.where(opening < 5, np.uint64(100), np.where(opening < 9, np.uint64(200), opening))
    found, common = families(opening, template)
    assert found.tolist() == [0, 1, 2, 3, 4, 200, 200, 200, 200, *range(9, 20)]
    assert common == 5
    assert families(opening[:0], template[:0])[0].tolist() == []


def test_siblings_stay_in_one_split_and_count_as_one_question(write, described, tokenizer, here):
    topics = ["rye", "spelt", "oats", "barley", "millet", "maize", "teff", "wheat", "einkorn", "emmer", "durum", "rice"]
    rows = [
        {"instruction": f"How much water do I need for {grams} g of {topic} flour?", "output": f"{grams} times {topic}"}
        for topic in topics
        for grams in (200, 450, 700, 900, 1100)
    ]
    done = prepare(described(write(rows), test_fraction=0.2), tokenizer, seed=1, cache=here / "cache")
    homes = {}
    for name in SPLITS:
        split = done.splits[name]
        for place in range(len(split)):
            topic = split.conversation(place)[-1].content.split()[-1]
            homes.setdefault(topic, set()).add((name, split.family(place)))
    assert set(homes) == set(topics)
    assert all(len(found) == 1 for found in homes.values()), homes
    assert sum(size.groups for size in done.report.splits.values()) == len(topics)


def test_one_template_for_all_rows_is_split_and_said(write, described, tokenizer, here):
    rows = [{"instruction": f"How many kilometres are {n} miles?", "output": str(n * 1.6)} for n in range(60)]
    done = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    assert all(len(done.splits[name]) for name in SPLITS)
    assert any("60 of 60 questions differ only in numbers and names" in note for note in done.report.notes)
