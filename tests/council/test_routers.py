import asyncio
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from hafs.config import build, compose
from hafs.core.errors import ConfigError
from hafs.council.assembly import council
from hafs.council.expert import Expert
from hafs.council.router import NO_EXPERT, Method, Router, picked
from hafs.council.router.encoder import Encoder
from hafs.council.router.llm import label_sets, read_scores
from hafs.council.router.routing_report import calibration_error, fit, measure
from hafs.council.router.rows import dealt, read_rows
from hafs.providers.provider import TIERS

QUESTIONS = {
    "How do I use lda and sta in a subroutine?": {"asm"},
    "Replace the palette of room 12": {"yaze"},
    "It crashes with an error": {"debug"},
    "Why does my routine with lda and sta crash with an error?": {"asm", "debug"},
}
NAMES = ["asm", "yaze", "debug", "general"]


@pytest.fixture(scope="module")
def panel():
    return council(["provider=scripted"]).panel


def router(name, *words):
    return build(compose("ask", [f"router={name}", *words]).router)


def route(made, question, panel):
    return asyncio.run(made.route(question, panel))


class Fixed(Method):
    def __init__(self, given):
        self.given = given

    async def score(self, question, panel):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def fixed(given, doubt=1.0):
    return Router(name="fixed", method=Fixed(given), doubt=doubt)


@pytest.mark.parametrize(("question", "who"), QUESTIONS.items())
def test_keywords_route_what_names_its_subject(panel, question, who):
    assert set(route(router("keyword"), question, panel).picked) == who


def test_a_keyword_is_a_whole_word(panel):
    """The rule this replaces found `rom` in `from` and `bit` in `rabbit`."""
    found = route(router("keyword"), "A rabbit from the chromatic promenade, decoding staccato", panel)
    assert set(found.scores.values()) == {0.0}


def test_a_keyword_counts_once_and_the_score_saturates(panel):
    one = route(router("keyword"), "lda lda LDA", panel).scores["asm"]
    two = route(router("keyword"), "lda sta", panel).scores["asm"]
    many = route(router("keyword"), "lda sta ldx stx adc sbc rts jsl", panel).scores["asm"]
    assert 0 < one < two < many < 1
    assert one == pytest.approx(0.56)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"asm": 0.75}, ("asm",)),
        ({"asm": 0.74}, ("general",)),
        ({"yaze": 0.70}, ("yaze",)),
        ({"debug": 0.79}, ("general",)),
        ({"debug": 0.80}, ("debug",)),
        ({"asm": 0.6, "debug": 0.7}, ("debug", "asm")),
        ({"asm": 0.59, "debug": 0.7}, ("general",)),
        ({"asm": 0.9, "debug": 0.8, "yaze": 0.7, "general": 0.6}, ("asm", "debug", "yaze")),
        ({"general": 0.9, "asm": 0.8, "debug": 0.7}, ("general",)),
        ({}, ("general",)),
    ],
)
def test_thresholds_decide_who_answers(panel, scores, expected):
    assert route(fixed(scores), "?", panel).picked == expected


def part(panel, *names):
    return replace(panel, experts={name: panel.experts[name] for name in names}, default=names[0])


def test_a_default_that_is_a_specialist_sits_on_panels_like_any_other(panel):
    three = part(panel, "asm", "yaze", "debug")
    assert three.default == "asm"
    assert route(fixed({"asm": 0.9, "debug": 0.8}), "?", three).picked == ("asm", "debug")
    assert route(fixed({"debug": 0.9, "asm": 0.8}), "?", three).picked == ("debug", "asm")
    assert route(fixed({"debug": 0.9}), "?", three).picked == ("debug",)
    assert route(fixed({}), "?", three).picked == ("asm",)


def test_a_router_sure_that_no_expert_is_meant_picks_the_default_expert(panel):
    found = route(fixed({NO_EXPERT: 0.9, "yaze": 0.1}), "?", part(panel, "debug", "yaze"))
    assert (found.picked, found.decided_by, found.no_expert) == (("debug",), "fixed", 0.9)
    assert set(found.scores) == {"debug", "yaze"}


def test_a_part_of_the_panel_is_routed_by_the_same_rules(panel, monkeypatch):
    """The right experts of a part are those of the whole that are in it, else its default expert, whoever that is."""
    rows = read_rows(str(compose("ask", ["router=embedding"]).router.method.rows))
    _, held = dealt(rows, 0.2, seed=7)
    made, read, known = router("embedding"), Encoder.vectors, {}
    monkeypatch.setattr(Encoder, "vectors", lambda self, texts: np.stack([known[text] for text in texts]))
    known |= {row.question: read(made.method.encoder, [row.question])[0] for row in held}
    for names in (("asm", "yaze", "debug"), ("debug", "yaze", "asm"), ("yaze", "debug", "general"), ("asm", "debug")):
        some = part(panel, *names)
        right = [
            set(route(made, row.question, some).picked) == (row.experts & set(names) or {names[0]}) for row in held
        ]
        assert sum(right) >= 0.95 * len(held), names


def test_without_a_generalist_the_last_label_is_for_none_of_the_experts(panel):
    assert label_sets(part(panel, "asm", "debug")) == [("asm",), ("debug",), ("asm", "debug"), ("general",)]

    async def scorer(messages, given, *, adapter):
        return [0.1, 0.1, 0.1, 0.7]

    asked = replace(part(panel, "debug", "asm"), scorer=scorer)
    assert route(router("llm"), "Why?", asked).picked == ("debug",)


def test_most_experts_limits_a_panel(panel):
    small = replace(panel, most=2)
    assert picked({"asm": 0.9, "debug": 0.8, "yaze": 0.7, "general": 0}, small) == ("asm", "debug")


def test_a_router_in_doubt_abstains(panel):
    assert route(fixed({"asm": 0.9, "debug": 0.5}, doubt=0.4), "?", panel).decided_by == "default"
    assert route(fixed({"asm": 0.9, "debug": 0.5}, doubt=0.5), "?", panel).picked == ("asm",)


@pytest.mark.parametrize(
    "given", [None, {}, ValueError("no"), "asm", 7, {"asm": "high"}, {"asm": None}, [1], float("nan")]
)
def test_whatever_a_method_returns_the_default_expert_remains(panel, given):
    found = route(fixed(given), "?", panel)
    assert found.picked == ("general",)
    assert set(found.scores.values()) == {0.0}


def test_scores_are_clamped(panel):
    found = route(fixed({"asm": 7, "yaze": -1, "debug": float("nan"), "general": float("inf"), "other": 1}), "?", panel)
    assert found.scores == {"asm": 1.0, "yaze": 0.0, "debug": 0.0, "general": 1.0}


def noise(dice):
    pieces = [
        *("asm", "yaze", "debug", "general", "{", "}", "[", "]", ":", ",", '"', "0.9", "1e999", "-3", "NaN", "true"),
        *("null", "80%", "\n", "```json", "\x00", "\ud83d", "é", "{" * 50, "[" * 2000, '{"asm": 0.9}', "I think"),
        *('{"scores": {"debug": "75%"}}', '{"asm": {"x": 1}}', "<|im_end|>", "9" * 400, '["asm"]'),
        '{"experts": ["asm", "debug"]}',
    ]
    return "".join(dice.choice(pieces) for _ in range(dice.randrange(12)))


def test_a_thousand_wild_outputs_of_a_classifier_raise_nothing(panel):
    dice = random.Random(4)
    texts = [noise(dice) for _ in range(1000)]
    asked = replace(panel, fast=GenericFakeChatModel(messages=iter(AIMessage(text) for text in texts)))
    made = router("llm")

    async def go():
        return [await made.route("Why?", asked) for _ in texts]

    for found in asyncio.run(go()):
        assert all(0 <= score <= 1 for score in found.scores.values())
        assert found.picked
    for text in texts:
        assert set(read_scores(text, NAMES)) == set(NAMES)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"asm": 0.9, "debug": 0.2}', {"asm": 0.9, "debug": 0.2}),
        ('Sure! ```json\n{"asm": "90%", "yaze": 40}\n```', {"asm": 0.9, "yaze": 0.4}),
        ('{"scores": {"debug": 1}}', {"debug": 1.0}),
        ("asm: 0.8\ndebug = .3", {"asm": 0.8, "debug": 0.3}),
        ("The answer is asm,debug.", {"asm": 0.9, "debug": 0.9}),
        ('["yaze"]', {"yaze": 0.9}),
        ("plasma", {}),
    ],
)
def test_labels_are_found_in_untidy_answers_of_a_model(said, expected):
    assert {name: score for name, score in read_scores(said, NAMES).items() if score} == pytest.approx(expected)


def test_labels_scored_by_the_provider_become_marginal_probabilities(panel):
    labels = [",".join(label) for label in label_sets(panel)]
    assert labels == ["asm", "debug", "yaze", "asm,debug", "asm,yaze", "debug,yaze", "asm,debug,yaze", "general"]
    asked = {}

    async def scorer(messages, given, *, adapter):
        asked.update(messages=messages, adapter=adapter)
        return [0.1, 0, 0, 0.8, 0, 0, 0.05, 0.05]

    found = route(router("trained", "router.method.adapter=some"), "Why?", replace(panel, scorer=scorer))
    assert found.picked == ("asm", "debug")
    assert found.scores == pytest.approx({"asm": 0.95, "debug": 0.85, "yaze": 0.05, "general": 0.05})
    assert asked["adapter"] == "some"
    assert [message.content for message in asked["messages"]] == ["Why?"], "asked as in its training"


def test_a_router_with_a_missing_adapter_is_refused_before_a_question():
    with pytest.raises(ConfigError, match="the router needs the adapter 'routing'"):
        council(["provider=local", "router=trained"]).route("Why?")
    with pytest.raises(ConfigError, match="needs a provider that scores labels"):
        council(["provider=scripted", "router=trained"]).route("Why?")


def test_an_llm_router_over_the_local_base_scores_labels_without_an_answer():
    words = ["provider=local", "router=llm", *(f"provider.local.models.{tier}=tiny" for tier in TIERS)]
    found = council(words).route("Why does it crash?")
    assert found.notes == (), "it must not abstain"
    assert 0 < sum(found.scores.values()) <= 3 + 1e-6, "marginals of sets of at most three"


def test_a_cascade_asks_the_next_only_where_one_abstains(panel):
    made = router("cascade")
    routers = made.method.routers
    assert list(routers) == ["embedding", "keyword", "llm"]
    replaced = {**routers, "embedding": fixed({"yaze": 0.9}), "llm": fixed(RuntimeError("asked"))}
    made = replace(made, method=replace(made.method, routers=replaced))
    assert route(made, "Does lda, sta, adc and rts make a routine?", panel).picked == ("yaze",)
    replaced["embedding"] = fixed({"asm": 0.3})
    assert route(made, "Does lda, sta, adc and rts make a routine?", panel).decided_by == "keyword"
    last = route(made, "Hello there", panel)
    assert last.decided_by == "default"
    assert last.scores["asm"] == 0.3
    assert last.notes == ("fixed: RuntimeError",)


def test_embedding_learns_a_new_expert_from_its_file_alone(panel, tmp_path, monkeypatch):
    cook = Expert(
        name="cook", model="cook-v1", specialization="food", keywords=[], threshold=0.6, adapter=None, tier="coding",
        examples=["How do I bake bread?", "Which spice goes with fish?", "My soup is too salty.", "Boil an egg."],
        system=None, max_tokens=9, deadline_seconds=9,
    )  # fmt: skip
    monkeypatch.setenv("HAFS_CACHE", str(tmp_path))
    made = router("embedding", "router.method.rows=null", "router.method.training_questions=null")
    with_cook = replace(panel, experts={**panel.experts, "cook": cook})
    found = route(made, "How long does a cake stay in the oven?", with_cook)
    assert max(found.scores, key=found.scores.get) == "cook"
    asm = route(made, "Write a routine that copies a buffer to VRAM by DMA", with_cook)
    assert max(asm.scores, key=asm.scores.get) == "asm"


def test_held_out_rows_share_no_family_with_the_others_and_are_those_of_the_dataset():
    rows = read_rows(str(compose("ask", ["router=embedding"]).router.method.rows))
    learned, held = dealt(rows, 0.2, seed=7)
    assert 0.12 < len(held) / len(rows) < 0.28
    assert not {row.group for row in learned} & {row.group for row in held}
    assert len({row.group for row in rows}) > 300


def test_routers_are_right_often_enough_on_questions_they_never_saw(panel):
    rows = read_rows(str(compose("ask", ["router=embedding"]).router.method.rows))
    _, held = dealt(rows, 0.2, seed=7)
    told = asyncio.run(measure(router("cascade", "router.method.routers.llm=null"), panel, held))
    assert told.exact >= 0.95
    assert told.calibration_error < 0.1
    assert set(told.by_expert) == set(panel.experts)


def test_fit_raises_accuracy_on_what_it_fits_and_touches_no_router(panel):
    rows = read_rows(str(compose("ask", ["router=embedding"]).router.method.rows))
    learned, _ = dealt(rows, 0.2, seed=7)
    made = router("keyword", "router.doubt=1")
    fitted = asyncio.run(fit(made, panel, learned))
    before, after = (asyncio.run(measure(made, p, learned)).exact for p in (panel, fitted))
    assert after > before


def test_calibration_error_is_zero_if_scores_equal_shares():
    assert calibration_error([(0.25, True), (0.25, False), (0.25, False), (0.25, False)]) == 0
    assert calibration_error([(1.0, False)]) == 1


def test_keyword_routing_takes_less_than_a_millisecond(panel):
    made = router("keyword")
    question = "Why does my routine crash in room 12? " * 20

    async def go():
        times = []
        for _ in range(50):
            began = time.perf_counter()
            await made.route(question, panel)
            times.append(time.perf_counter() - began)
        return sorted(times)[25]

    assert asyncio.run(go()) < 0.003, "1 ms on a quiet machine: benchmarks/routing.py"


@pytest.mark.parametrize(
    ("question", "cooks"),
    [
        ("What herbs suit chicken?", True),
        ("My dough does not rise", True),
        ("What is the capital of Peru?", False),
        ("Place a moblin in room 4", False),
    ],
)
def test_a_new_expert_gets_only_questions_near_its_examples(panel, question, cooks):
    examples = ["How do I bake bread?", "Which spice goes with fish?", "My soup is too salty.", "Boil an egg."]
    cook = replace(panel.experts["general"], name="cook", examples=examples)
    found = route(router("embedding"), question, replace(panel, experts={**panel.experts, "cook": cook}))
    assert (found.scores["cook"] > 0.6) is cooks, found


DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize("rows", ["routing_outside", "routing_off_topic"])
def test_questions_of_another_set_are_routed_right_and_the_scores_are_calibrated(panel, rows):
    told = asyncio.run(measure(router("embedding"), panel, read_rows(str(DATA / f"{rows}.jsonl"))))
    assert told.exact >= 0.95, told.wrong
    assert told.calibration_error <= 0.05


def test_a_follow_up_is_routed_by_its_conversation():
    made = council(["provider=scripted", "router=embedding"])
    rows = [json.loads(line) for line in (DATA / "routing_conversations.jsonl").read_text("utf-8").splitlines()]
    right = [set(made.route(row["messages"]).picked) == set(row["output"].split(",")) for row in rows]
    assert sum(right) >= 0.9 * len(rows) == 36


def test_messages_of_any_form_are_a_conversation_and_the_receipt_tells_how_far_back_the_question_is():
    made = council(["provider=scripted", "router=keyword"])
    said = ["Replace the palette of room 12", "It is done.", "why?"]
    forms = [
        [HumanMessage(said[0]), AIMessage(said[1]), HumanMessage(said[2])],
        [("user", said[0]), ("assistant", said[1]), ("user", said[2])],
        [{"role": "user", "content": said[0]}, {"role": "user", "content": said[2]}],
    ]
    for messages in forms:
        found = made.route(messages)
        assert (found.picked, found.turns_back, found.facts()["turns_back"]) == (("yaze",), 1, 1)
    assert made.route(said[2]).picked == ("general",)
    new = [*forms[0][:2], HumanMessage("How do I use lda and sta in a subroutine?")]
    assert (made.route(new).picked, made.route(new).turns_back) == (("asm",), 0)


def test_a_last_text_that_no_expert_is_confident_of_is_left_to_the_conversation(panel):
    class Last(Method):
        async def score(self, question, panel):
            return {"debug": 0.9} if question == "first question of several words" else {"asm": 0.3}

    made = Router(name="last", method=Last(), doubt=1.0)
    found = route(made, ["first question of several words", "and yet another one of many words"], panel)
    assert (found.picked, found.turns_back) == (("debug",), 1)


def test_the_example_of_the_readme_asks_two_experts(panel):
    question = "Add a new item to ALTTP that uses custom graphics from YAZE"
    for some in (panel, part(panel, "asm", "yaze", "debug")):
        assert set(route(router("cascade"), question, some).picked) == {"asm", "yaze"}
