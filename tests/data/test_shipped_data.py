"""The shipped samples: reproducible, unique, and true as far as an assembler and an emulator can tell."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))

from generate import asm, debug, routing, yaze  # noqa: E402
from generate.asm.cases import assemble  # noqa: E402
from generate.emulate import SCROLL, VRAM, Bus, Cpu, Run, failures  # noqa: E402
from generate.files import contents  # noqa: E402

SEED = 7
COUNTS = {
    "alttp_asm": 800,
    "alttp_asm.asar": 848,
    "first_routines": 336,
    "yaze_tools": 500,
    "debug": 320,
    "routing": 400,
    "routing_training_questions": 2898,
}
needs_ca65 = pytest.mark.skipif(
    not (shutil.which("ca65") and shutil.which("ld65")), reason="ca65 and ld65 (cc65) are not installed"
)


def rows_of(name):
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def prompt_of(row):
    if "messages" in row:
        return "\n".join(text_of(message) for message in row["messages"][:-1] if message["role"] != "system")
    return f"{row['instruction']}\n{row['input']}"


def text_of(message):
    return message["content"] or json.dumps(message["tool_calls"])


def answer_of(row):
    return text_of(row["messages"][-1]) if "messages" in row else row["output"]


@pytest.fixture(scope="module")
def asm_rows():
    return asm.build(SEED)


@pytest.fixture(scope="module")
def debug_cases():
    return debug.cases(SEED)


def run_tool(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def assembled(asm_rows, debug_cases):
    """Code to machine code, for the correct and the faulty routines of the two samples."""
    texts = [text for row in asm_rows for text in (row.code, row.broken, row.equal) if text]
    codes = sorted({*texts, *(case.code for case in debug_cases if case.code)})
    return dict(zip(codes, assemble(codes), strict=True))


def test_the_files_are_byte_for_byte_what_the_generator_writes():
    done = run_tool(DATA.parent, sys.executable, "data/generate", "--seed", str(SEED), "--check")
    assert done.returncode == 0, done.stderr


def test_the_check_notices_that_another_seed_gives_other_files():
    other = contents(SEED + 1)
    assert [name for name, data in other.items() if (DATA / name).read_bytes() == data] == ["yaze_api.json"]


@pytest.mark.parametrize("name", COUNTS)
def test_each_sample_has_its_rows_and_keys_and_stays_small(name):
    rows = rows_of(name)
    assert len(rows) == COUNTS[name]
    keys = {"messages", "tools"} if name == "yaze_tools" else {"instruction", "input", "output"}
    keys |= {"split_group"} if name.startswith(("routing", "alttp_asm", "first")) else set()
    keys |= {"syntax"} if name.endswith(".asar") else set()
    assert all(set(row) == keys for row in rows)
    assert all(prompt_of(row).strip() and answer_of(row).strip() for row in rows)
    assert (DATA / f"{name}.jsonl").stat().st_size < 1_500_000


@pytest.mark.parametrize("name", COUNTS)
def test_no_prompt_appears_twice(name):
    prompts = Counter(prompt_of(row).lower() for row in rows_of(name))
    assert [prompt for prompt, count in prompts.items() if count > 1] == []


@pytest.mark.parametrize("name", COUNTS)
def test_clusters_of_near_duplicates_stay_below_three_percent(name):
    shingles = []
    for row in rows_of(name):
        words = f"{prompt_of(row)}\n{answer_of(row)}".split()
        shingles.append({tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))})
    leader = list(range(len(shingles)))

    def find(index):
        while leader[index] != index:
            index = leader[index]
        return index

    for index, left in enumerate(shingles):
        for earlier in range(index):
            right = shingles[earlier]
            common = len(left & right)
            if common and common >= 0.85 * (len(left) + len(right) - common):
                leader[find(index)] = find(earlier)
    largest = Counter(map(find, range(len(shingles)))).most_common(1)[0][1]
    assert largest <= 0.03 * len(shingles)


def shingled(text):
    words = re.findall(r"[\w$#']+", text.lower())
    return {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def test_no_training_question_is_close_to_a_held_out_question():
    from hafs.council.router.rows import dealt, read_rows

    _, held = dealt(read_rows(str(DATA / "routing.jsonl")), 0.2, seed=7)
    questions = [shingled(row.question) for row in held]
    training_questions = [shingled(row.question) for row in read_rows(str(DATA / "routing_training_questions.jsonl"))]
    nearest = max(len(one & other) / len(one | other) for one in training_questions for other in questions)
    assert nearest < 0.5, f"Jaccard {nearest:.2f}"


def test_training_questions_are_for_the_experts_of_the_sample_and_never_repeat():
    rows = rows_of("routing_training_questions")
    assert {row["output"] for row in rows} == {row["output"] for row in rows_of("routing")}
    assert len({row["instruction"].lower() for row in rows}) == len(rows)
    assert not any("{" in row["instruction"] for row in rows)


def test_each_operation_of_the_short_routines_is_held_out_in_the_demo_and_is_learned_in_other_families(tmp_path):
    from hafs.config import build, compose
    from hafs.data.prepare import prepare

    config = compose("train")
    tokenizer = build(compose("train", ["model=tiny"]).model).tokenizer()
    splits = prepare(build(config.dataset), tokenizer, seed=config.seed, cache=tmp_path).splits
    families = {
        name: {str(split.metadata(i).get("split_group", "")) for i in range(len(split))} - {"", "None"}
        for name, split in splits.items()
    }
    learned, held_out = families["train"], families["val"] | families["test"]
    assert not learned & held_out
    operations = {family.split()[0] for family in learned}
    assert operations == {family.split()[0] for family in held_out}
    assert min(Counter(family.split()[0] for family in learned).values()) >= 3
    assert len(families["test"]) >= 5


def test_the_everyday_rows_are_none_of_the_questions_that_measure_forgetting():
    def words(row):
        said = re.findall(r"\w+", f"{row['instruction']} {row.get('input', '')}".lower())
        return {tuple(said[at : at + 3]) for at in range(max(1, len(said) - 2))}

    everyday, general = rows_of("everyday"), rows_of("general")
    assert len(everyday) == 48
    alike = [
        (a["instruction"], b["instruction"])
        for a in everyday
        for b in general
        if len(words(a) & words(b)) >= 0.5 * len(words(a) | words(b))
    ]
    assert alike == []


def test_the_shipped_router_was_fitted_to_the_shipped_questions():
    done = subprocess.run(
        [sys.executable, str(DATA / "fit_router.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_assembly_sample_draws_evenly_from_many_families(asm_rows):
    assert len(asm.FAMILIES) >= 60
    openings = Counter(row.instruction[:25] for row in asm_rows)
    assert max(openings.values()) <= 0.03 * len(asm_rows)
    assert sum(1 for row in asm_rows if row.runs) >= 0.8 * len(asm_rows)


def test_the_code_that_is_checked_is_the_code_that_is_shown(asm_rows, debug_cases):
    written = rows_of("alttp_asm")
    for row, shown in zip(asm_rows, written, strict=True):
        fences = re.findall(r"```asm\n(.*?)\n```", shown["output"], re.S)
        assert fences == ([row.code] if fences else []), shown["instruction"]
        bad = row.broken or row.rejected
        assert not bad or bad == shown["input"]
    for case, shown in zip(debug_cases, rows_of("debug"), strict=True):
        assert case.code in shown["input"] and case.source.rstrip() in shown["input"]


@needs_ca65
def test_every_assembly_answer_assembles():
    answers = [re.findall(r"```asm\n(.*?)\n```", row["output"], re.S) for row in rows_of("alttp_asm")]
    blocks = [block for found in answers for block in found]
    assert len(blocks) >= 600
    assert all(assemble(blocks))


@needs_ca65
def test_the_routines_do_in_the_emulator_what_their_rows_say(asm_rows, assembled):
    wrong = [
        (row.instruction, problems)
        for row in asm_rows
        for run in row.runs
        if (problems := failures(assembled[row.code], run))
    ]
    assert wrong == []


@needs_ca65
def test_the_faulty_routines_really_fail_what_the_repaired_ones_pass(asm_rows, assembled):
    faulty = [row for row in asm_rows if row.broken]
    assert len(faulty) >= 60
    harmless = [row.instruction for row in faulty if not any(failures(assembled[row.broken], run) for run in row.runs)]
    assert harmless == []


@needs_ca65
def test_code_before_a_conversion_has_the_same_effect_as_after_it(asm_rows, assembled):
    converted = [row for row in asm_rows if row.equal]
    assert len(converted) >= 20
    for row in converted:
        for run in row.runs:
            assert failures(assembled[row.equal], run) == [], row.input


@needs_ca65
def test_stated_sizes_and_machine_code_are_those_of_the_assembler(asm_rows, assembled):
    sized = [row for row in asm_rows if row.size is not None]
    encoded = [row for row in asm_rows if row.encoded]
    assert sized and encoded
    assert [row.input for row in sized if len(assembled[row.code]) != row.size] == []
    assert [row.instruction for row in encoded if assembled[row.code] != row.encoded] == []


@needs_ca65
def test_code_that_the_assembler_is_said_to_refuse_is_refused(asm_rows, tmp_path):
    refused = [row.rejected for row in asm_rows if row.rejected]
    assert refused
    for code in refused:
        (tmp_path / "bad.s").write_text(f".p816\n{code}\n", encoding="utf-8")
        assert run_tool(tmp_path, "ca65", "-o", "bad.o", "bad.s").returncode != 0, code


def test_the_emulator_adds_and_subtracts_decimal_numbers_as_people_do():
    for left in range(0, 100, 7):
        for right in range(100):
            for opcode, total in ((0x69, left + right), (0xE9, left - right)):
                cpu = Cpu(Bus())
                cpu.a, cpu.p = int(str(left), 16), 0x38 | (opcode == 0xE9)
                for offset, byte in enumerate((opcode, int(str(right), 16))):
                    cpu.bus.poke(0x8000 + offset, byte)
                cpu.step()
                assert cpu.a == int(str(total % 100), 16)
                assert cpu.p & 1 == (total > 99 if opcode == 0x69 else total >= 0)


def test_the_emulator_notices_a_width_that_is_not_given_back():
    assert failures(bytes((0xC2, 0x20, 0x60)), Run()) == ["m is $0, expected $1"]


def test_decimal_addition_sets_overflow_as_the_chip_does():
    assert failures(bytes.fromhex("f818a9356947d860"), Run(end={"a": 0x82, "v": 1, "c": 0, "n": 1})) == []
    assert failures(bytes.fromhex("f838a945e947d860"), Run(end={"a": 0x98, "c": 0, "v": 0})) == []


def test_the_screen_takes_video_writes_in_blanking_only():
    draw = bytes.fromhex("a9808d1521a9008d1621a9108d1721a9558d1821a9668d192160")
    wanted = {VRAM + 0x2000: b"\x55\x66"}
    assert failures(draw, Run(out=wanted, screen="off")) == failures(draw, Run(out=wanted, screen="vblank")) == []
    assert failures(draw, Run(out=wanted))[-1] == "2 writes to video memory were lost: the screen was on"


def test_every_row_that_writes_video_memory_says_when_it_may(asm_rows):
    drawing = [row for row in asm_rows if any(VRAM <= address < SCROLL for run in row.runs for address in run.out)]
    assert len(drawing) >= 25
    for row in drawing:
        assert re.search(r"vblank|vertical blank|NMI|screen (is )?off|forced blank", row.instruction), row.instruction


def test_a_family_of_the_assembly_sample_is_never_on_both_sides_of_a_split(asm_rows):
    written = rows_of("alttp_asm")
    assert [row["split_group"] for row in written] == [row.family for row in asm_rows]
    assert len({row["split_group"] for row in written}) == len(asm.FAMILIES)


def test_an_arithmetic_result_read_too_early_is_wrong_in_the_emulator():
    early = bytes.fromhex("a9058d0242a9038d0342ad164260")
    late = bytes.fromhex("a9058d0242a9038d0342eaeaeaad164260")
    assert failures(early, Run(end={"a": 15})) != []
    assert failures(late, Run(end={"a": 15})) == []


TOOLS = {entry["name"]: entry["parameters"] for entry in yaze.API}


def calls_in(row, *, learned=True):
    """The calls of a conversation, each with the messages before it."""
    for at, message in enumerate(row["messages"]):
        if learned and message.get("weight") == 0:
            continue
        for call in message.get("tool_calls") or ():
            arguments = json.loads(call["function"]["arguments"])
            yield row["messages"][:at], call["function"]["name"], arguments


def test_the_tools_are_the_seven_that_the_editors_agent_offers():
    arguments = {name: (list(schema["properties"]), schema.get("required", [])) for name, schema in TOOLS.items()}
    assert arguments == {
        "resource-list": (["type"], ["type"]),
        "resource-search": (["query", "type"], ["query"]),
        "dungeon-list-sprites": (["room"], ["room"]),
        "dungeon-describe-room": (["room"], ["room"]),
        "overworld-find-tile": (["tile"], ["tile"]),
        "overworld-describe-map": (["screen"], ["screen"]),
        "overworld-list-warps": (["screen"], []),
    }
    assert json.loads((DATA / "yaze_api.json").read_text("utf-8")) == json.loads(json.dumps(yaze.API))
    offered = [tool["function"] for row in rows_of("yaze_tools") for tool in row["tools"]]
    assert all(tool["parameters"] == TOOLS[tool["name"]] for tool in offered)


LIMITS = {"room": (0x128, 3), "tile": (0xEA8, 3), "screen": (0xA0, 2)}


def test_every_learned_call_is_one_that_the_editor_takes_and_that_the_row_offers():
    used = Counter()
    for row in rows_of("yaze_tools"):
        offered = {tool["function"]["name"] for tool in row["tools"]}
        for _, name, arguments in calls_in(row):
            used[name] += 1
            assert name in offered
            jsonschema.validate(arguments, TOOLS[name])
            for key in arguments.keys() & LIMITS.keys():
                limit, digits = LIMITS[key]
                assert re.fullmatch(rf"0x[0-9A-F]{{{digits}}}", arguments[key]) and int(arguments[key], 16) < limit
    assert set(used) == set(TOOLS) and min(used.values()) >= 25, used


def test_every_argument_of_a_call_was_said_or_returned_before():
    for row in rows_of("yaze_tools"):
        for before, name, arguments in calls_in(row):
            said = " ".join(text_of(message) for message in before if message["role"] != "system").lower()
            numbers = {int(each, 16) for each in re.findall(r"(?:0x|\$)([0-9a-f]+)", said)}
            numbers |= {int(each) for each in re.findall(r"\b\d+\b", said)}
            for key, value in arguments.items():
                if key in LIMITS:
                    assert int(value, 16) in numbers, (name, arguments)
                elif key == "query":
                    assert value.lower() in said
                elif name == "resource-list":
                    assert value in said


def test_numbers_in_an_answer_come_from_the_conversation():
    for row in rows_of("yaze_tools"):
        answer = row["messages"][-1]
        if answer["content"] and row["messages"][-2]["role"] == "tool":
            told = "\n".join(text_of(message) for message in row["messages"][:-1])
            for value in re.findall(r"0x[0-9A-F]+", answer["content"]):
                assert value in told or str(int(value, 16)) in told, answer


def test_conversations_hold_errors_refusals_parallel_calls_and_follow_ups():
    rows = rows_of("yaze_tools")
    last = Counter("calls" if "tool_calls" in row["messages"][-1] else "words" for row in rows)
    assert min(last.values()) >= 200
    talks = [[message["role"] for message in row["messages"]] for row in rows]
    assert sum(roles.count("user") > 1 for roles in talks) >= 25
    assert sum(roles.count("tool") > 1 for roles in talks) >= 20
    assert sum(not any(True for _ in calls_in(row, learned=False)) for row in rows) >= 60
    assert sum('{"error": ' in text_of(message) for row in rows for message in row["messages"]) >= 40
    parallel = [m for row in rows for m in row["messages"] if len(m.get("tool_calls") or ()) > 1]
    assert len(parallel) >= 10


def test_wrong_calls_are_in_the_sample_but_not_learned():
    wrong = []
    for row in rows_of("yaze_tools"):
        for at, message in enumerate(row["messages"]):
            if message.get("weight") == 0:
                wrong.append(row["messages"][at + 1]["content"])
    assert len(wrong) >= 15
    assert all(re.search("Must be hex|Missing required arguments", text) for text in wrong)


def test_every_diagnosis_has_its_three_parts():
    shape = re.compile(r"Cause: [^\n]+\.\nEvidence: [^\n]+\.\nFix: [^\n]+\.")
    assert [row["output"] for row in rows_of("debug") if not shape.fullmatch(row["output"])] == []
    assert len(debug.CAUSES) >= 25


@needs_ca65
def test_the_assembler_messages_are_what_ca65_prints(debug_cases, tmp_path):
    reported = [case for case in debug_cases if case.source]
    assert len(reported) >= 80
    for case in reported:
        (tmp_path / "x.s").write_text(case.source, encoding="utf-8")
        printed = run_tool(tmp_path, "ca65", "--cpu", case.cpu, "-o", "x.o", "x.s").stderr.split("\n")
        assert [line[3:] for line in printed if line.startswith("x.s")] == list(case.messages), case.source
        assert case.messages[0] in case.input


@needs_ca65
def test_the_dumps_are_what_the_emulator_shows_for_their_code(debug_cases, assembled):
    checked = [case for case in debug_cases if case.code]
    assert len(checked) >= 100
    for case in checked:
        assert case.runs
        for run in case.runs:
            assert failures(assembled[case.code], run) == ([case.crash] if case.crash else []), case.input


def test_routing_labels_are_canonical_and_in_proportion():
    labels = Counter(row["output"] for row in rows_of("routing"))
    for label in labels:
        names = label.split(",")
        assert names == sorted(set(names)) and set(names) <= set(routing.EXPERTS)
        assert names == ["general"] or "general" not in names
    total = sum(labels.values())
    several = sum(count for label, count in labels.items() if "," in label)
    assert 0.2 <= several / total <= 0.3
    assert 0.09 <= labels["general"] / total <= 0.15


def test_no_question_names_the_expert_it_belongs_to():
    for row in rows_of("routing"):
        words = set(re.findall(r"[a-z]+", row["instruction"].lower()))
        assert not words & {"asm", "assembly", "yaze", "debug", "debugger", "general"}, row["instruction"]
