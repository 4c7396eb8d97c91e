"""Where a broken stream and the answer that goes on meet."""

import asyncio
import re

import pytest
from chains import chain, provider
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from hafs.core.errors import AllProvidersDown
from hafs.providers.provider_error import ProviderError
from hafs.providers.scripted import Scripted
from hafs.providers.stream_continuation import RESTART_NOTICE, StreamContinuation, go_on

GIVEN = "The routine loads A from $7E0010 and "
CODE = "mul16:\n" + "    asl a\n" * 4 + "    clc\n    adc $10\n" * 3 + "    asl a\n" * 4 + "    rts\n"
TABLE = "```asm\ntable:\n" + "    .db $00, $00, $00, $00\n" * 8 + "```\nEight rows, all the same."
ECHO = "asl a\n" * 30
SCALE = "x" * 300
TEXTS = {"code": CODE, "table": TABLE, "one line again and again": ECHO, "one letter": SCALE}


def quote_in(words):
    return re.search(r"<last>.*?</last>", words, re.S)[0]


def obedient(text, given, asked):
    """What a model says that does as it is asked to."""
    return quote_in(asked) + text[len(given) :]


MANNERS = {
    "as it is asked to": obedient,
    "line end behind the quote": lambda text, given, asked: quote_in(asked) + "\n" + text[len(given) :].lstrip("\n"),
    "exactly the rest": lambda text, given, asked: text[len(given) :],
    "the last line again": lambda text, given, asked: text[given.rfind("\n") + 1 :],
    "all of it again": lambda text, given, asked: text,
    "something else": lambda text, given, asked: "Sorry, here is the rest:\n" + text,
}


class Writer(Scripted):
    """A host whose first call breaks off, and which goes on in a manner of its own."""

    def chat(self, model, *, context, adapter, **params):
        return Writing(host=self)


class Writing(BaseChatModel):
    host: object

    @property
    def _llm_type(self):
        return "writing"

    def _generate(self, *args, **words):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        text, cut, manner = self.host.otherwise, self.host.answers.get("cut"), self.host.answers["manner"]
        if cut is None and isinstance(messages[-2:][0], AIMessage):
            text = MANNERS[manner](text, messages[-2].content, messages[-1].content)
        text = text if cut is None else text[:cut]
        for start in range(0, len(text), 7):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text[start : start + 7]))
        if cut is not None:
            raise ProviderError("cut", "the connection broke")
        yield ChatGenerationChunk(message=AIMessageChunk(content=""), generation_info={"finish_reason": "stop"})


def writer(text, manner, cut=None):
    script = {"answers": {"manner": manner, "cut": cut}, "otherwise": text, "first_token_seconds": 0}
    host = Writer(**script, token_seconds=0, faults=[], repeat_faults=False)
    return provider(host, parameters=["response_format"])


async def read(text, manner, cut, **words):
    model = chain(writer(text, manner, cut), writer(text, manner), attempt_seconds=9.0, first_token_seconds=9.0)
    whole = None
    async for piece in model.astream("Why?", **words):
        whole = piece if whole is None else whole + piece
    return whole


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_two_hundred_cuts_lose_nothing_and_double_nothing(text, manner):
    async def every_cut():
        for cut in range(1, len(text), -(-len(text) // 200)):
            message = await read(text, manner, cut)
            if manner == "line end behind the quote":  # its own doing, told as what comes next
                assert "".join(message.text.split()) == "".join(text.split())
                continue
            assert message.text == text, cut
            assert message.response_metadata["ended"] == "continued"

    asyncio.run(every_cut())


def test_a_restart_with_other_words_is_announced_and_complete():
    async def asked():
        model = chain(writer(CODE, "exactly the rest", 60), writer(TABLE, "exactly the rest"))
        return [piece async for piece in model.astream("Why?")]

    pieces = asyncio.run(asked())
    assert "".join(piece.text for piece in pieces) == CODE[:60] + RESTART_NOTICE + TABLE
    assert pieces[-1].response_metadata["ended"] == "restarted"
    kinds = [attempt["outcome"] for attempt in pieces[-1].response_metadata["attempts"]]
    assert kinds == ["cut", "unjoined", "answered"]


def test_a_restart_inside_a_code_block_closes_it_first():
    continuation = StreamContinuation("Like this:\n```asm\nlda $10\n", "restart")
    assert continuation.feed("No: like that.") == "\n```" + RESTART_NOTICE + "No: like that."
    assert continuation.answer == "No: like that."


def test_a_json_document_never_restarts_inside_itself():
    same = asyncio.run(read('{"a": 1, "b": 2}', "all of it again", 9, response_format={"type": "json_object"}))
    assert same.text == '{"a": 1, "b": 2}'
    first, second = writer('{"a": 1, "b": 2}', "all of it again", 9), writer('{"b": 2}', "all of it again")
    with pytest.raises(AllProvidersDown, match="broke off"):
        list(chain(first, second).stream("Why?", response_format={"type": "json_object"}))


def joined(given, how, pieces):
    continuation = StreamContinuation(given, how)
    text = "".join(map(continuation.feed, pieces)) + continuation.end()
    assert continuation.answer == (
        given + text if continuation.ended == "continued" else text.rpartition(RESTART_NOTICE)[2]
    )
    return text, continuation.ended


@pytest.mark.parametrize("given", [GIVEN, GIVEN.rstrip(), "a", "    asl a\n", "one\n\n    two\n    "])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_continuation_behind_its_quote_says_nothing_twice(given, size):
    space = given[len(given.rstrip()) :]
    told = quote_in(go_on(given)) + space + "stores it."
    assert joined(given, "continue", [told[i : i + size] for i in range(0, len(told), size)]) == (
        "stores it.",
        "continued",
    )


@pytest.mark.parametrize("told", ["stores it.", GIVEN + "stores it.", "<last>it</last> stores it.", "The end.", "<la"])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_continuation_without_its_quote_is_not_guessed_at(told, size):
    with pytest.raises(ProviderError) as error:
        joined(GIVEN, "continue", [told[i : i + size] for i in range(0, len(told), size)])
    assert error.value.kind == "unjoined"


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_restart_is_seamless_where_it_says_the_same_and_announced_where_not(size):
    for told, expected in (
        (GIVEN + "stores it.", ("stores it.", "continued")),
        (GIVEN, ("", "continued")),
        ("The code is wrong.", (RESTART_NOTICE + "The code is wrong.", "restarted")),
        (GIVEN[:12], (RESTART_NOTICE + GIVEN[:12], "restarted")),
    ):
        assert joined(GIVEN, "restart", [told[i : i + size] for i in range(0, len(told), size)]) == expected


def test_a_quote_is_whole_lines_where_they_are_short():
    assert quote_in(go_on(CODE)) == "<last>asl a\n    asl a\n    rts</last>"
    assert len(quote_in(go_on(SCALE))) < 60


def test_the_first_stream_is_passed_on_unchanged():
    assert joined("", "continue", ["a", "b"]) == ("ab", "complete")
