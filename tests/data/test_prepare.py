import copy
import json
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests_dataset_rows import sentence, varied

from hafs.chat import end_tokens, render
from hafs.core.errors import DataError
from hafs.data import report_files
from hafs.data.assign import deal
from hafs.data.prepare import prepare, report

SPLITS = ("train", "val", "test")


@pytest.fixture
def rows():
    dice = random.Random(3)
    return [varied(dice, number) for number in range(120)]


def membership(prepared):
    return {name: list(prepared.splits[name].ids) for name in SPLITS}


def test_a_mixed_file_becomes_samples_that_equal_what_render_gives(write, described, tokenizer, rows, here):
    done = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    assert sum(len(done.splits[name]) for name in SPLITS) == 120
    assert set(done.report.formats) == {"instruction", "messages", "sharegpt", "prompt_completion", "text"}
    for split in done.splits.values():
        for place in range(len(split)):
            sample, expected = split[place], render(tokenizer, split.conversation(place))
            assert sample.tokens.tolist() == expected.tokens
            assert sample.supervised.tolist() == expected.supervised
            assert (split.lengths[place], split.supervised[place]) == (len(sample.tokens), sample.supervised.sum())
            assert sample.tokens[np.flatnonzero(sample.supervised)[-1]] in end_tokens(tokenizer)
            assert sample.id == split.ids[place]
            assert len(sample.id) == 16
    assert done.splits["train"].ids[:3] == sorted(done.splits["train"].ids)[:3]
    assert "number" in done.splits["train"].metadata(0)


def test_the_split_is_a_function_of_seed_and_content_alone(write, described, tokenizer, rows, here):
    base = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    shuffled = random.Random(1).sample(rows, len(rows))
    spaced = write(shuffled[:50], "x.jsonl"), write(shuffled[50:], "y.jsonl")
    other = prepare(described(list(spaced)), tokenizer, seed=1, cache=here / "cache")
    assert membership(other) == membership(base)
    assert other.fingerprint == base.fingerprint
    assert other.file_hashes != base.file_hashes
    for name in SPLITS:
        assert all((a.tokens == b.tokens).all() for a, b in zip(base.splits[name], other.splits[name], strict=True))
    reseeded = prepare(described("rows.jsonl"), tokenizer, seed=2, cache=here / "cache")
    assert membership(reseeded) != membership(base)
    assert reseeded.fingerprint != base.fingerprint


def test_added_rows_move_no_old_ones(write, described, tokenizer, rows, here):
    before = prepare(described(write(rows[:80])), tokenizer, seed=1, cache=here / "cache")
    after = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    for name in SPLITS:
        assert set(before.splits[name].ids) <= set(after.splits[name].ids)


def test_no_prompt_and_no_near_duplicate_is_in_two_splits(write, described, tokenizer, here):
    dice = random.Random(4)
    rows = []
    for number in range(60):
        prompt, answer = f"{number} {sentence(dice, 20)}", sentence(dice, 60)
        rows += [{"prompt": prompt, "completion": f"{answer} {end}"} for end in "ab"]
        rows += [{"prompt": f" {prompt}\n", "completion": sentence(dice, 30)}, {"text": f"{prompt} {answer} once"}]
    done = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    home = {}
    for name, split in done.splits.items():
        assert len(split)
        for place in range(len(split)):
            number = split.conversation(place)[0].content.split()[0]
            assert home.setdefault(number, name) == name
    assert done.report.near_duplicates >= 100
    assert done.report.conflicts == 60
    assert done.report.conflict_examples[0]["where"][0].startswith("rows.jsonl:")
    dropped = prepare(described("rows.jsonl", drop_near_duplicates=True), tokenizer, seed=1, cache=here / "cache")
    assert dropped.report.samples == 240 - dropped.report.near_dropped == 240 - done.report.near_duplicates


def test_exact_duplicates_differ_in_nothing_but_whitespace_and_look_alikes(write, described, tokenizer, here):
    rows = [{"prompt": "Grüße ﬁx", "completion": "a b"}, {"prompt": "Grüße  fix\n", "completion": "a\tb"},
            {"prompt": "grüße fix", "completion": "a b"}, {"messages": [{"role": "user", "content": "Grüße fix"},
             {"role": "assistant", "content": "a b"}]}]  # fmt: skip
    found = report(described(write(rows)), tokenizer, seed=1, cache=here / "cache")
    assert (found.exact_duplicates, found.samples) == (2, 2)
    turned = report(described(write(rows[::-1])), tokenizer, seed=1, cache=here / "cache")
    assert turned.fingerprint == found.fingerprint


def test_a_split_that_was_asked_for_is_filled_where_three_groups_allow():
    for count in range(3, 12):
        for seed in range(40):
            group = np.random.default_rng(count).integers(0, 2**63, count, dtype=np.uint64)
            for val, test in ((0.1, 0.1), (0.01, 0.0), (0.0, 0.01), (0.6, 0.39)):
                code = deal(group, val, test, seed=seed)
                assert [(code == place).any() for place in range(3)] == [True, val > 0, test > 0]
    assert deal(np.array([5, 9], np.uint64), 0.5, 0.4, seed=1).tolist() == [0, 0]


def test_fractions_hold_for_many_groups():
    group = np.arange(20_000, dtype=np.uint64)
    share = np.bincount(deal(group, 0.1, 0.05, seed=7)) / 20_000
    assert np.abs(share - [0.85, 0.1, 0.05]).max() < 0.01


def test_every_kind_of_bad_row_is_rejected_with_its_place_and_the_good_stay(write, described, tokenizer, rows, here):
    bad = {
        2: b"{",
        4: b'{"text": "a"}{"text": "b"}',
        6: b'{"text": "\xff"}',
        8: b'{"prompt": "a"}',
        9: b"[1]",
        10: json.dumps({"prompt": "q", "completion": "word " * 400}).encode(),
        11: b'{"text": "' + b"x" * 9_000_000 + b'"}',
    }
    lines = [bad.get(number) or rows[number] for number in range(1, 40)]
    path = write([*lines, b"", b"  "])
    with (here / path).open("ab") as file:
        file.write(b'{"text": "cut')
    found = report(described(path), tokenizer, seed=1, cache=here / "cache")
    assert found.rejected == {"invalid_json": 1, "invalid_utf8": 1, "line_too_long": 1, "missing_field": 1,
                              "not_an_object": 1, "too_long": 1, "truncated_line": 1, "two_objects": 1}  # fmt: skip
    assert (found.rows, found.blank_lines, found.samples) == (40, 2, 32)
    assert found.overlong == {"rows": 1, "rejected": 1}
    assert found.tokens_lost > 400
    written = [json.loads(line) for line in report_files.write(found, here / "out")[2].read_text().splitlines()]
    assert [entry["line"] for entry in written] == [*bad, 42]
    assert all(entry["file"] == "rows.jsonl" and entry["message"] for entry in written)


def test_too_many_rejects_are_refused_with_reasons_and_an_example(write, described, tokenizer, rows, here):
    path = write([*rows[:9], {"prompt": "q", "completion": ""}])
    strict = described(path, max_rejected=0.05)
    with pytest.raises(
        DataError, match=r"1 of 10 rows \(10.0%\).*empty_field \(rows.jsonl line 10: 'completion' is empty"
    ):
        prepare(strict, tokenizer, seed=1, cache=here / "cache")
    assert "max_rejected=0.05" in report(strict, tokenizer, seed=1, cache=here / "cache").refusal
    assert prepare(described(path, max_rejected=0.1), tokenizer, seed=1, cache=here / "cache").report.refusal is None


@pytest.mark.parametrize(("content", "says"), [
    ('{"text": "a"}\n'.encode("utf-16"), "UTF-16"),
    (b"\n\n", "only blank lines"),
    (b"{}\n{}\n", "no usable row"),
    (b'{"text": "aaaa", "x": "' + bytes(range(1, 32)), "no usable row"),
])  # fmt: skip
def test_files_without_one_usable_row_are_refused_and_still_reported(here, described, tokenizer, content, says):
    (here / "a.jsonl").write_bytes(content)
    found = report(described("a.jsonl"), tokenizer, seed=1, cache=here / "cache")
    assert says in found.refusal
    assert found.samples == 0
    assert len(report_files.write(found, here / "out")) == 3
    with pytest.raises(DataError, match=says):
        prepare(described("a.jsonl"), tokenizer, seed=1, cache=here / "cache")


def chats(*weights):
    """Rows of two exchanges each; a weight for the first answer of each."""
    said = [("user", "one"), ("assistant", "first answer"), ("user", "two"), ("assistant", "second answer")]
    for number, weight in enumerate(weights):
        messages = [{"role": role, "content": f"{number} {text}"} for role, text in said]
        messages[1] |= {} if weight is None else {"weight": weight}
        yield {"messages": messages, "tags": [number], "id": None}


def test_an_answer_of_no_weight_is_read_and_not_learned(write, described, tokenizer, here):
    all_in_one = {"val_fraction": 0.0, "test_fraction": 0.0}
    done = prepare(described(write(chats(0, 1, None)), **all_in_one), tokenizer, seed=1, cache=here / "cache")
    split = done.splits["train"]
    learned = {}
    for place in range(len(split)):
        sample, conversation = split[place], split.conversation(place)
        assert render(tokenizer, conversation).supervised == sample.supervised.tolist()
        learned[conversation[0].content[0]] = tokenizer.decode(sample.tokens[sample.supervised])
        assert "first answer" in tokenizer.decode(sample.tokens)
    both = "{0} first answer<|im_end|>{0} second answer<|im_end|>"
    assert learned == {"0": "0 second answer<|im_end|>", "1": both.format(1), "2": both.format(2)}
    weightless = prepare(described(write(chats(0, 0, None)), **all_in_one), tokenizer, seed=1, cache=here / "cache")
    assert weightless.fingerprint != done.fingerprint


def test_a_long_chat_is_split_into_parts_that_end_with_what_is_learned(write, described, tokenizer, here):
    rows = [{"messages": [turn for number in range(8) for turn in (
        {"role": "user", "content": f"{number} {'word ' * 20}"},
        {"role": "assistant", "content": f"{number} {'said ' * 20}", "weight": number % 2})]}]  # fmt: skip
    done = prepare(described(write(rows), max_length=120, overlong="split"), tokenizer, seed=1, cache=here / "cache")
    split = done.splits["train"]
    texts = [tokenizer.decode(split[place].tokens[split[place].supervised]) for place in range(len(split))]
    assert sorted(text[0] for text in texts) == ["1", "3", "5", "7"]
    assert all(split.conversation(place)[-1].learned for place in range(len(split)))


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>"
    "\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_each_answer_is_learned_as_it_is_asked_where_the_past_is_written_differently(
    write, described, tokenizer, here
):  # fmt: skip
    own = copy.deepcopy(tokenizer)
    own.chat_template = THINKING
    all_in_one = {"val_fraction": 0.0, "test_fraction": 0.0}
    done = prepare(described(write(chats(None, None)), **all_in_one), own, seed=1, cache=here / "cache")
    split = done.splits["train"]
    said = sorted(own.decode(split[place].tokens[split[place].supervised]) for place in range(len(split)))
    thought = "<think>\n\n</think>\n\n{} {} answer<|im_end|>"
    assert said == [thought.format(row, which) for row in (0, 1) for which in ("first", "second")]
    assert len(set(split.ids)) == 4
    for place in range(4):
        sample, conversation = split[place], split.conversation(place)
        assert render(own, conversation).supervised == sample.supervised.tolist()
    short = report(described("rows.jsonl", max_length=30), own, seed=1, cache=here / "cache")
    assert (short.rejected, short.overlong["rows"]) == ({"too_long": 2}, 2)


def test_rows_of_tools_become_samples_with_their_calls(write, described, tokenizer, here):
    tools = [{"type": "function", "function": {"name": f"find_{n}", "parameters": {"type": "object"}}} for n in (1, 2)]
    rows = [{"messages": [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "find_1", "arguments": '{"at": 3}'}}]},
        {"role": "tool", "content": "here"}, {"role": "assistant", "content": "There.", "thinking": "hm"}],
        "tools": tools[:count]} for count in (1, 2)]  # fmt: skip
    done = prepare(described(write(rows), val_fraction=0.0, test_fraction=0.0, max_length=512), tokenizer, seed=1,
                   cache=here / "cache")  # fmt: skip
    split = done.splits["train"]
    assert (len(split), done.report.exact_duplicates, done.report.unused) == (2, 0, {})
    assert done.report.notes[0].endswith("that of 2 answers is left out")
    for place in range(2):
        conversation = split.conversation(place)
        assert conversation[1].calls[0].arguments == {"at": 3}
        assert conversation[3].reasoning == "hm"
        assert render(tokenizer, conversation).tokens == split[place].tokens.tolist()
    assert sorted(len(split.conversation(place)[0].tools) for place in range(2)) == [1, 2]


def test_unused_keys_are_counted_once_in_the_report(write, described, tokenizer, here):
    found = report(described(write(chats(0, 1, None))), tokenizer, seed=1, cache=here / "cache")
    assert found.unused == {"tags": 3}
    again = report(described("rows.jsonl"), tokenizer, seed=1, cache=here / "cache")
    assert again.unused_keys() == "tags 3"


def test_max_samples_takes_the_same_few_whatever_the_order(write, described, tokenizer, rows, here):
    few = prepare(described(write(rows), max_samples=30), tokenizer, seed=1, cache=here / "cache")
    again = prepare(described(write(rows[::-1]), max_samples=30), tokenizer, seed=1, cache=here / "cache")
    assert few.report.samples == 30
    assert membership(few) == membership(again)


def test_split_rows_give_samples_of_their_own_ids_in_one_split(write, described, tokenizer, here):
    chats = [{"messages": [{"role": role, "content": f"{number} {role} {turn} " + "word " * 20}
              for turn in range(6) for role in ("user", "assistant")]} for number in range(12)]  # fmt: skip
    done = prepare(described(write(chats), max_length=128, overlong="split"), tokenizer, seed=1, cache=here / "cache")
    home = {split.conversation(i)[1 if split.conversation(i)[0].role == "system" else 0].content.split()[0]: name
            for name, split in done.splits.items() for i in range(len(split))}  # fmt: skip
    assert len(home) == 12
    assert done.report.overlong == {"rows": 12, "split": 12}
    ids = [name for split in done.splits.values() for name in split.ids]
    assert len(set(ids)) == len(ids) > 24


def test_a_second_start_finds_the_cache_and_a_changed_option_does_not(
    write, described, tokenizer, rows, here, monkeypatch
):
    dataset = described(write(rows))
    prepare(dataset, tokenizer, seed=1, cache=here / "cache")
    monkeypatch.setattr("hafs.data.prepare._build", lambda *_: pytest.fail("built again"))
    prepare(dataset, tokenizer, seed=1, cache=here / "cache")
    prepare(described("rows.jsonl", max_rejected=0.5, name="other"), tokenizer, seed=1, cache=here / "cache")
    with pytest.raises(pytest.fail.Exception, match="built again"):
        prepare(described("rows.jsonl", max_length=200), tokenizer, seed=1, cache=here / "cache")


@pytest.mark.parametrize(
    "name", ["tokens.npy", "train-length.npy", "conversations.bin", "report.json", "MANIFEST.json"]
)
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_cache_is_noticed_and_rebuilt(write, described, tokenizer, here, rows, name, damage):
    dataset = described(write(rows[:12]))
    before = membership(prepare(dataset, tokenizer, seed=1, cache=here / "cache"))
    (path,) = (here / "cache").glob(f"*/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x11
    path.unlink() if damage == "gone" else path.write_bytes(content if damage == "flip" else content[:-9])
    after = prepare(dataset, tokenizer, seed=1, cache=here / "cache")
    assert membership(after) == before
    assert after.splits["train"][0].tokens.tolist() == render(tokenizer, after.splits["train"].conversation(0)).tokens


def test_a_build_that_fails_leaves_nothing_behind(write, described, tokenizer, rows, here, monkeypatch):
    monkeypatch.setattr("hafs.data.prepare._report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(described(write(rows[:5])), tokenizer, seed=1, cache=here / "cache")
    assert [path.suffix for path in (here / "cache").iterdir()] == [".lock"]


def test_two_concurrent_preparations_build_once(write, described, tokenizer, rows, here):
    dataset = described(write(rows))
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(lambda _: prepare(dataset, tokenizer, seed=1, cache=here / "cache"), range(2)))
    assert membership(found[0]) == membership(found[1])
    assert len(list((here / "cache").glob("*/MANIFEST.json"))) == 1


def test_a_file_that_changes_while_it_is_read_is_refused(write, described, tokenizer, rows, here, monkeypatch):
    path = write(rows[:10])

    def appended(*_, **__):
        with (here / path).open("ab") as file:
            file.write(b"{}\n")

    monkeypatch.setattr("hafs.data.ingest.Ingest._spool", lambda self, *_: appended() or 0)
    with pytest.raises(DataError, match="changed while it was read"):
        prepare(described(path), tokenizer, seed=1, cache=here / "cache")


def test_a_split_travels_to_a_worker_as_a_path(write, described, tokenizer, rows, here):
    split = prepare(described(write(rows)), tokenizer, seed=1, cache=here / "cache").splits["train"]
    packed = pickle.dumps(split)
    assert len(packed) < 1000
    assert (pickle.loads(packed)[3].tokens == split[3].tokens).all()


def test_fractions_that_leave_nothing_to_train_on_are_rejected(described):
    with pytest.raises(DataError, match="leave nothing to train on"):
        described("x", val_fraction=0.6, test_fraction=0.5)


def test_random_files_never_raise_anything_but_a_data_error(here, described, tokenizer):
    dice = random.Random(8)
    keys = ["text", "prompt", "completion", "instruction", "output", "messages"]
    values = ["a", "", None, 1, [], "\ud800", "b\u0000"]
    lines = [json.dumps({key: dice.choice(values) for key in dice.sample(keys, 3)}).encode() for _ in range(150)]
    lines = dice.sample([*lines, *(dice.randbytes(dice.randrange(60)) for _ in range(150))], 300)
    (here / "a.jsonl").write_bytes(b'{"text": "first"}\n' + b"\n".join(lines))
    found = report(described("a.jsonl"), tokenizer, seed=1, cache=here / "cache")
    assert found.rows == found.samples + found.exact_duplicates + sum(found.rejected.values())


def test_a_csv_file_and_a_json_array_are_prepared_like_lines(write, described, tokenizer, here):
    rows = [{"prompt": f"{number} asked", "completion": f"{number} said"} for number in range(6)]
    (here / "a.json").write_text(json.dumps(rows))
    (here / "a.csv").write_text("\n".join(["prompt,completion", *(f"{r['prompt']},{r['completion']}" for r in rows)]))
    found = [
        report(described(path), tokenizer, seed=1, cache=here / "cache") for path in (write(rows), "a.json", "a.csv")
    ]
    assert [each.samples for each in found] == [6, 6, 6]
    assert len({each.fingerprint for each in found}) == 1


def test_chat_markup_in_plain_text_is_noticed(write, described, tokenizer, here):
    rows = [{"text": f"<|im_start|>user\nQuestion {n}?<|im_end|>\n<|im_start|>assistant\nYes."} for n in range(3)]
    rows += [{"instruction": f"Is {n} < | {n + 1}?", "output": f"Yes, {n}."} for n in range(30)]
    found = report(described(write(rows)), tokenizer, seed=7, cache=here / "cache")
    assert [note for note in found.notes if "markup" in note] == [
        "3 rows contain chat markup (<|im_start|> 3), which is learned as letters; a whole chat belongs in `messages`"
    ]
