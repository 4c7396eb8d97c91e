"""hafs chat: conversations that are kept, slash commands, answers that can be stopped."""

import io
import os
import re
import sys
import time
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from hafs.commands.ask import ask
from hafs.commands.chat import with_continue
from hafs.config import compose
from hafs.core.errors import ConfigError
from hafs.council.conversations import Conversation, Conversations, Turn
from hafs.council.receipt_terminal import timeline
from hafs.council.terminal.markdown_stream import MarkdownStream, split_blocks
from hafs.council.terminal.prompt import one
from hafs.council.terminal.session import ChatSession
from hafs.council.terminal.side_by_side import side_by_side

ROOT = Path(__file__).resolve().parents[2]
EXPERTS = "expert=[asm,yaze,debug,general]"


@pytest.fixture
def session(seat):
    return ChatSession(make=lambda further: seat(*(further or ["provider=scripted"]), EXPERTS), store=Conversations())


def said(session, line):
    """What one line prints, without a terminal."""
    out = io.StringIO()
    one(session, line, Console(file=out, width=100, highlight=False))
    return out.getvalue()


def test_each_question_is_asked_with_the_conversation_before_it(session, monkeypatch):
    asked = []
    stream = type(session.whole).stream
    monkeypatch.setattr(type(session.whole), "stream", lambda self, m: asked.append(m) or stream(self, m))
    said(session, "Write a routine in 65816 assembly")
    said(session, "and in 16-bit mode?")
    assert [str(message.content) for message in asked[1]][::2] == [
        "Write a routine in 65816 assembly", "and in 16-bit mode?"]  # fmt: skip
    assert str(asked[1][1].content) == session.conversation.turns[0].answer


def test_a_conversation_is_named_by_its_first_question_and_continues_in_another_process(session):
    said(session, "Why does lda #$1234 crash here?")
    said(session, "and now?")
    again = Conversations().open("last")
    assert again.name == "why-does-lda-1234-crash-here"
    assert again == session.conversation and len(again.turns) == 2
    session.conversation = Conversation()
    said(session, "Why does lda #$1234 crash here?")
    assert Conversations().names() == ["why-does-lda-1234-crash-here-2", "why-does-lda-1234-crash-here"]


def test_a_damaged_conversation_is_refused_and_others_are_not_touched(session):
    said(session, "first question")
    path = session.store.folder / "first-question.json"
    path.write_text(path.read_text().replace("first question", "first quextion"))
    with pytest.raises(ConfigError, match="cannot be read"):
        Conversations().open("last")
    assert path.exists()


def test_nothing_is_written_without_a_store(seat, tmp_path):
    session = ChatSession(make=lambda _: seat(EXPERTS), store=None)
    said(session, "Why?")
    assert len(session.conversation.turns) == 1 and not (tmp_path / "state" / "conversations").exists()
    assert "not saved" in said(session, "/list")


def test_experts_and_providers_are_chosen_and_shown(session):
    assert "the router chooses among asm, yaze, debug, general" in said(session, "/expert")
    assert "experts: yaze" in said(session, "/expert yaze")
    said(session, "Write a routine in 65816 assembly")
    assert session.conversation.turns[-1].experts == ("yaze",)
    assert "there is no expert 'yase'" in said(session, "/expert yase")
    said(session, "/expert auto")
    said(session, "Write a routine in 65816 assembly")
    assert session.conversation.turns[-1].experts == ("asm",)
    why = said(session, "/why")
    assert "asm: scripted" in why and re.search(r"^router +█", why, re.MULTILINE)
    assert "did you mean 'scripted'" in said(session, "/provider scriptd")
    assert "providers: scripted" in said(session, "/provider scripted")


def test_cost_save_name_open_new_and_retry(session, tmp_path):
    assert "nothing was asked yet" in said(session, "/save")
    said(session, "Why does it crash?")
    assert said(session, "/cost").startswith("1 answers, ")
    assert "wrote" in said(session, f"/save {tmp_path / 'talk.md'}")
    assert (tmp_path / "talk.md").read_text().startswith("# why-does-it-crash\n\n## You\n\nWhy does it crash?\n\n## ")
    assert "conversation: the-crash" in said(session, "/name The Crash")
    said(session, "/retry")
    assert [turn.question for turn in session.conversation.turns] == ["Why does it crash?"]
    said(session, "/new")
    said(session, "Another question")
    assert "already" in said(session, "/name the crash")
    assert said(session, "/list").split() == ["another-question", "the-crash"]
    assert "the-crash: 1 answers" in said(session, "/open the-crash")
    assert "did you mean 'help'" in said(session, "/hlp")
    assert all(f"/{name}" in said(session, "/help") for name in ("expert", "provider", "cost", "save"))


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_was_read(session):
    class Stopping(io.StringIO):
        pressed = False

        def write(self, text):
            if self.getvalue().count(" ") and not self.pressed:
                self.pressed = True
                raise KeyboardInterrupt
            return super().write(text)

    out = Stopping()
    one(session, "Why?", Console(file=out, width=100))
    assert "-- stopped" in out.getvalue()
    turn = session.conversation.turns[0]
    assert turn.stopped and turn.answer and "(stopped)" in session.conversation.markdown()
    said(session, "and now?")
    assert len(session.conversation.turns) == 2 and not session.conversation.turns[1].stopped


def test_an_error_leaves_the_conversation_as_it_was_and_it_goes_on(seat):
    faults = ["provider.scripted.host.faults=[unauthorized]", "provider.scripted.host.repeat_faults=true"]
    session = ChatSession(make=lambda _: seat(EXPERTS, *faults), store=Conversations())
    assert "no provider gave an answer" in said(session, "Why?")
    assert session.conversation.turns == []


def test_a_receipt_is_drawn_with_its_experts_side_by_side_and_the_synthesizer_after_them():
    part = {"attempts": [], "outcome": "answered"}
    experts = [{"name": "asm", "seconds": 1.0, **part}, {"name": "debug", "seconds": 2.0, **part}]
    receipt = {"routing": {"seconds": 0.0}, "experts": experts, "seconds": 4.0,
               "synthesizer": {"name": "llm", "seconds": 2.0, **part}}  # fmt: skip
    rows = {line.split()[0]: line[len("synthesizer ") :] for line in timeline(receipt).splitlines()}
    assert rows["asm"].startswith("█" * 10 + " ") and rows["debug"].startswith("█" * 20 + " ")
    assert rows["synthesizer"].startswith(" " * 20 + "█" * 20)
    assert rows["debug"].endswith("2.00 s")


def test_a_question_is_asked_again_through_another_config_and_both_answers_are_compared(session, capsys):
    said(session, "Write a routine in 65816 assembly")
    said(session, "and in 16-bit mode?")
    receipt = session.conversation.turns[1].receipt
    otherwise = "provider.scripted.host.otherwise='Use rep #$20'"
    words = ["provider=scripted", "router=keyword", "expert=[yaze]", otherwise]
    ask(compose("ask", [*words, f"replay={receipt}"]))
    out = capsys.readouterr().out
    assert "and in 16-bit mode?" in out and "Use rep #$20" in out and "yaze" in out
    assert len(Conversations().open("last").turns) == 2
    ask(compose("ask", [*words, "replay=last"]))
    with pytest.raises(ConfigError, match="no saved conversation"):
        ask(compose("ask", [*words, "replay=0123456789ab"]))


def test_the_words_that_differ_between_two_answers_are_marked():
    table = side_by_side(Turn(question="q", answer="lda #1 then rts"), Turn(question="q", answer="lda #2 then rts"))
    before, now = (column._cells[-1] for column in table.columns[1:])
    assert [before.plain[span.start : span.end] for span in before.spans if span.style] == ["#1"]
    assert [now.plain[span.start : span.end] for span in now.spans if span.style] == ["#2"]


MARKDOWN = """Intro line
goes on.

```asm
lda #$01

sta $00
```
Then a list:

1. one

2. two

A paragraph
that ends"""


def test_blocks_of_a_growing_answer_are_cut_where_no_block_is_open_and_nothing_is_lost():
    blocks, rest = split_blocks(MARKDOWN)
    assert blocks[:2] == ["Intro line\ngoes on.\n", "```asm\nlda #$01\n\nsta $00\n```"]
    assert "\n".join([*blocks, rest]) == MARKDOWN
    for cut in range(len(MARKDOWN)):
        first, rest = split_blocks(MARKDOWN[:cut])
        assert all(block.count("```") % 2 == 0 for block in first)
        assert "\n".join([*first, rest]) == MARKDOWN[:cut]


def test_an_answer_longer_than_the_screen_is_printed_once():
    out = io.StringIO()
    console = Console(file=out, width=60, height=8, force_terminal=True, color_system=None)
    text = "\n\n".join(f"paragraph {number}" for number in range(40)) + "\n\n```asm\n" + "nop\n" * 30 + "```\n"
    with MarkdownStream(console) as printed:
        for start in range(0, len(text), 7):
            printed.feed(text[start : start + 7])
    kept = out.getvalue().split("\x1b[2K")[-1]
    assert out.getvalue().count("paragraph 17\n") + out.getvalue().count("paragraph 17 ") >= 1
    assert kept.count("nop") == 30 or out.getvalue().count("nop") >= 30


def test_continuing_is_one_flag_and_hydras_own_flag_stays():
    assert with_continue(["-c", "and", "now?"]) == ["conversation=last", "and", "now?"]
    assert with_continue(["--continue"]) == ["conversation=last"]
    assert with_continue(["-c", "job"]) == ["-c", "job"]


def test_the_command_talks_in_a_real_terminal(tmp_path):
    environment = {
        **os.environ,
        "HAFS_STATE": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    slow = "providers.scripted.host.token_seconds=0.3"
    words = ["-m", "hafs", "chat", "provider=scripted", "router=keyword", slow]
    child = pexpect.spawn(sys.executable, words, env=environment, cwd=tmp_path, dimensions=(30, 100), timeout=20)
    child.expect("help lists")
    time.sleep(0.3)
    child.send("first line\x1b\rsecond line\r")
    child.expect("-- general: ")
    child.send("/name multi line\r")
    child.expect("conversation: multi-line")
    child.send("once more\r")
    time.sleep(1.0)
    child.sendintr()
    child.expect("-- stopped")
    child.expect(">")  # the next prompt: keys are read again
    time.sleep(0.3)
    child.send("/quit\r")
    child.expect("hafs chat conversation=multi-line continues")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    turns = Conversations(tmp_path / "state/conversations").open("multi-line").turns
    assert [turn.question for turn in turns][:1] == ["first line\nsecond line"]
    assert Turn(question="", answer="").stopped is False
