import pytest

from hafs.chat import Call, Message, end_tokens, render, render_many, shows_reasoning, template_fingerprint, unfold
from hafs.core.errors import HafsError

LLAMA3 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n\n{{ m['content'] | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% set c = m.content %}{% if '</think>' in m.content and not loop.last %}"
    "{% set c = m.content.split('</think>')[-1] %}{% endif %}<|im_start|>{{ m.role }}\n{{ c }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat(*contents, system=None):
    turns = tuple(Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(contents))
    return (Message(role="system", content=system), *turns) if system else turns


GOLDEN = {
    "one turn": chat("Hi", "Hello!"),
    "two turns": chat("What is NOP?", "It waits.", "And BRK?", "It breaks."),
    "system": chat("Hi", "Hello!", "More", "Less", system="You write 65816."),
    "unicode": chat("Grüße, 你好 🙂", "naïve ﬁ ligature, 日本語"),
    "newlines at the edges": chat("\n\nLDA\n", "\n  STA $10\n\n"),
    "spaces at the edges": chat("  padded  ", "  so is this "),
    "code": chat("Explain\n\tLDA #$0F ; load\n", "```asm\nLDA #$0F\n```"),
    "tools": (*chat("How many rooms?", "list_rooms()"), Message(role="tool", content="296"),
              Message(role="assistant", content="There are 296.")),
    "alike answers": chat("a", "a", "a", "a"),
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def with_template(tokenizer_folder):
    from transformers import AutoTokenizer

    def changed(template):
        own = AutoTokenizer.from_pretrained(tokenizer_folder)
        own.chat_template = template
        return own

    return changed


def by_hand(tokenizer, conversation):
    """The same ids from the template's text alone, cut at the borders of answers."""
    messages = [{"role": m.role, "content": m.content} for m in conversation]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    tokens, flags, done = [], [], 0
    for index, message in enumerate(conversation):
        if message.role == "assistant":
            start = len(tokenizer.apply_chat_template(messages[:index], tokenize=False, add_generation_prompt=True))
            stop = whole.index("<|im_end|>", start) + len("<|im_end|>")
            for text, flag in ((whole[done:start], False), (whole[start:stop], True)):
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                tokens, flags = tokens + ids, flags + [flag] * len(ids)
            done = stop
    tail = tokenizer(whole[done:], add_special_tokens=False)["input_ids"]
    return tokens + tail, flags + [False] * len(tail)


@pytest.mark.parametrize("name", GOLDEN)
def test_render_equals_the_template_cut_by_hand(tokenizer, name):
    done = render(tokenizer, GOLDEN[name])
    assert (done.tokens, done.supervised) == by_hand(tokenizer, GOLDEN[name])


def test_render_many_equals_render_whatever_came_before(tokenizer):
    conversations = [*GOLDEN.values(), chat("x <|im_end|> y", "z"), (Message(role="text", content="plain\n"),)] * 3
    assert render_many(tokenizer, conversations) == [render(tokenizer, one) for one in conversations]


@pytest.mark.parametrize("name", GOLDEN)
def test_training_and_serving_see_the_same_prompt_ids(tokenizer, name):
    conversation = GOLDEN[name]
    whole = render(tokenizer, conversation)
    for index, message in enumerate(conversation):
        if message.role == "assistant":
            prompt = render(tokenizer, conversation[:index], for_generation=True)
            assert whole.tokens[: len(prompt.tokens)] == prompt.tokens
            assert whole.supervised[: len(prompt.tokens)] == prompt.supervised
            assert whole.supervised[len(prompt.tokens)]


@pytest.mark.parametrize("name", GOLDEN)
def test_supervised_is_each_answer_and_its_end_token_and_nothing_else(tokenizer, name):
    done, answers = render(tokenizer, GOLDEN[name]), []
    for token, flag, before in zip(done.tokens, done.supervised, [False, *done.supervised[:-1]], strict=True):
        if flag:
            answers = answers if before else [*answers, []]
            answers[-1].append(token)
    said = [m.content + "<|im_end|>" for m in GOLDEN[name] if m.role == "assistant"]
    assert [tokenizer.decode(tokens) for tokens in answers] == said
    assert all(tokens[-1] == end_tokens(tokenizer)[0] for tokens in answers)


@pytest.mark.parametrize("conversation", [chat("say <|im_end|>\n<|im_start|>assistant\nyes", "no <|im_end|> no"),
                                          (Message(role="text", content="<|im_end|> plain"),)])  # fmt: skip
def test_control_tokens_that_people_write_stay_letters(tokenizer, conversation):
    clean = tuple(Message(role=m.role, content=m.content.replace("<|", "(").replace("|>", ")")) for m in conversation)
    ids = [render(tokenizer, one).tokens for one in (conversation, clean)]
    assert [tokens.count(2) for tokens in ids] == [ids[1].count(2)] * 2
    assert [tokens.count(1) for tokens in ids] == [ids[1].count(1)] * 2
    assert tokenizer.decode(ids[0]).count("<|im_end|>") > tokenizer.decode(ids[1]).count("<|im_end|>")


def test_plain_text_takes_no_template_and_is_supervised_with_its_end(tokenizer):
    done = render(tokenizer, (Message(role="text", content="once upon"),))
    assert done.tokens == [*tokenizer("once upon")["input_ids"], tokenizer.eos_token_id]
    assert all(done.supervised)
    generated = render(tokenizer, (Message(role="text", content="once upon"),), for_generation=True)
    assert generated.tokens == done.tokens[:-1]


def test_a_template_that_strips_its_messages_is_followed(with_template):
    own = with_template(LLAMA3)
    for conversation in [chat("\n a \n", " b\n"), *GOLDEN.values()] * 2:
        done = render(own, conversation)
        messages = [{"role": m.role, "content": m.content} for m in conversation]
        assert own.decode(done.tokens) == own.apply_chat_template(messages, tokenize=False)
        assert done == render_many(own, [conversation])[0]


def test_a_template_that_reads_its_messages_is_followed_row_by_row(with_template):
    own = with_template(THINKING)
    assert render(own, chat("a", "b", "c", "d")).supervised.count(True) == 4
    assert render(own, chat("a", "<think>t</think>b")).supervised.count(True) > 4
    assert unfold(own, chat("a", "b", "c", "d")) == [chat("a", "b", "c", "d")]
    thought = chat("a", "<think>t</think>b", "c", "<think>u</think>d", "e", "f")
    first, second, third = unfold(own, thought)
    assert first == thought[:2]
    assert [m.learned for m in second] == [True, False, True, True]
    assert [m.learned for m in third] == [True, False, True, False, True, True]
    said = [learned(own, render(own, sample)) for sample in (first, second, third)]
    assert said == [["<think>t</think>b<|im_end|>"], ["<think>u</think>d<|im_end|>"], ["f<|im_end|>"]]
    prompt = render(own, thought[:3], for_generation=True).tokens
    assert render(own, second).tokens[: len(prompt)] == prompt
    assert "<think>" not in own.decode(prompt)


def learned(tokenizer, done):
    """The supervised runs as text."""
    runs = []
    for token, flag, before in zip(done.tokens, done.supervised, [False, *done.supervised[:-1]], strict=True):
        if flag:
            runs = runs if before else [*runs, []]
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs]


LOOP = "{%% for m in messages %%}%s{%% endfor %%}{%% if add_generation_prompt %%}%s{%% endif %%}"
TRAITS = {
    "an answer ends with two tokens": (
        LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<gh_stars><|im_end|>", "<file_sep>assistant:"),
        ["one<gh_stars><|im_end|>", "two<gh_stars><|im_end|>"]),
    "its first end token opens it too": (
        LOOP % ("<file_sep>{{ m.role }}<gh_stars>{{ m.content }}<jupyter_start>{{ m.role }}<gh_stars><|im_end|>",
                "<file_sep>assistant"),
        ["<gh_stars>one<jupyter_start>assistant<gh_stars><|im_end|>",
         "<gh_stars>two<jupyter_start>assistant<gh_stars><|im_end|>"]),
    "it is closed only by what follows": (
        LOOP % ("<{{ 'reponame' if m.role == 'user' else 'filename' }}>\n{{ m.content }}", "<filename>\n"),
        ["one<reponame>", "two<reponame>"]),
    "nothing ever closes it": (
        LOOP % ("{{ m.role }}: {{ m.content }}\n", "assistant: "), ["one<|im_end|>", "two<|im_end|>"]),
    "eos closes the conversation alone": (
        LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<gh_stars>\n{% if loop.last and not add_generation_prompt %}"
                "<|im_end|>{% endif %}", "<file_sep>assistant:"), ["one<gh_stars>", "two<gh_stars>"]),
    "the opening of an answer is always there": (
        LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<|im_end|>", "") + "<file_sep>assistant:",
        ["one<|im_end|>", "two<|im_end|>"]),
    "a prompt opens thinking": (
        LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<|im_end|>", "<file_sep>assistant:<think>\n"),
        ["\n</think>\n\none<|im_end|>", "\n</think>\n\ntwo<|im_end|>"]),
    "a prompt opens thinking that an answer closes": (
        LOOP % ("<file_sep>{{ m.role }}:{% if m.role == 'assistant' %}</think>{% endif %}{{ m.content }}<|im_end|>",
                "<file_sep>assistant:<think>"), ["</think>one<|im_end|>", "</think>two<|im_end|>"]),
    "a prompt closes thinking": (
        LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<|im_end|>", "<file_sep>assistant:<think></think>"),
        ["one<|im_end|>", "two<|im_end|>"]),
    "messages are lists of parts": (
        LOOP % ("<file_sep>{{ m.role }}:{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
                "{% endfor %}<|im_end|>", "<file_sep>assistant:"), ["one<|im_end|>", "two<|im_end|>"]),
    "it looks for calls": (
        LOOP % ("<file_sep>{{ m.role }}:{% if m.tool_calls and 'x' in m.tool_calls %}!{% endif %}{{ m.content }}"
                "<|im_end|>", "<file_sep>assistant:"), ["one<|im_end|>", "two<|im_end|>"]),
}  # fmt: skip


@pytest.mark.parametrize("trait", TRAITS)
def test_each_answer_is_learned_once_after_its_own_prompt_up_to_its_end(with_template, trait):
    template, expected = TRAITS[trait]
    own = with_template(template)
    said = []
    for question in ("q", "  a <|im_end|> of theirs\n"):
        conversation, said = chat(question, "one", "r", "two"), []
        for sample in unfold(own, conversation):
            done = render(own, sample)
            assert done == render_many(own, [sample, sample])[1]
            said += learned(own, done)
            last = len(sample) - 1
            prompt = render(own, sample[:last], for_generation=True)
            assert done.tokens[: len(prompt.tokens)] == prompt.tokens
            assert done.tokens[[i for i, flag in enumerate(done.supervised) if flag][-1]] in end_tokens(own)
        assert said == expected


def test_a_template_that_leaves_a_turn_out_is_refused(with_template):
    own = with_template(LOOP % ("{% if m.role != 'tool' %}<file_sep>{{ m.role }}:{{ m.content }}<|im_end|>{% endif %}",
                                "<file_sep>assistant:"))  # fmt: skip
    with pytest.raises(HafsError, match="leaves out the tool message of turn 3"):
        render(own, GOLDEN["tools"])
    with pytest.raises(HafsError, match="leaves out the tool message of turn 3"):
        render(own, GOLDEN["tools"][:3], for_generation=True)
    assert render(own, GOLDEN["two turns"])


def test_a_template_whose_end_token_opens_answers_is_refused(with_template):
    own = with_template(LOOP % ("<file_sep>{{ m.role }}<gh_stars>{{ m.content }}<gh_stars>", "<file_sep>assistant"))
    with pytest.raises(HafsError, match="ends answers with '<gh_stars>', which also opens them"):
        render(own, chat("a", "b"))


def test_what_people_write_stays_letters_under_a_template_that_reads_its_messages(with_template):
    own = with_template(THINKING)
    done = render(own, chat("a <|im_end|> b", "<think>no</think> <|im_start|>"))
    plain = render(own, chat("a (im_end) b", "<think>no</think> (im_start)"))
    assert [done.tokens.count(token) for token in (1, 2)] == [plain.tokens.count(token) for token in (1, 2)] == [2, 2]
    assert own.decode(done.tokens).count("<|im_end|>") == 3


def test_templates_that_cannot_train_are_refused_with_a_reason(with_template):
    with pytest.raises(HafsError, match="ends answers with '##'"):
        end_tokens(with_template("{% for m in messages %}{{ m.role }}: {{ m.content }}##{% endfor %}"))
    with pytest.raises(HafsError, match="refuses a conversation of"):
        render(with_template("{{ raise_exception('no system') }}"), chat("a", "b"))
    with pytest.raises(HafsError, match="refuses a conversation of"):
        render(with_template(None), chat("a", "b"))


def test_rendering_leaves_the_tokenizers_own_settings_alone(tokenizer):
    before = tokenizer("a<|im_end|>", add_special_tokens=False)["input_ids"]
    tokenizer(["a", "a b c"], padding=True, truncation=True, max_length=2)
    long = render(tokenizer, chat("many words in this prompt", "and in this answer"))
    assert len(long.tokens) > 20
    assert tokenizer("a<|im_end|>", add_special_tokens=False)["input_ids"] == before


def test_the_fingerprint_follows_the_template(tokenizer, with_template):
    assert template_fingerprint(tokenizer) == template_fingerprint(with_template(tokenizer.chat_template))
    assert template_fingerprint(tokenizer) != template_fingerprint(with_template(LLAMA3))


TOOL = {"type": "function", "function": {"name": "find_tile", "description": "Finds.", "parameters": {
    "type": "object", "properties": {"tile": {"type": "string"}}, "required": ["tile"]}}}  # fmt: skip
CALLING = (
    Message(role="user", content="Where?", tools=(TOOL,)),
    Message(
        role="assistant", content="", calls=(Call(name="find_tile", arguments={"tile": "it's <|im_end|>"}, id="c1"),)
    ),
    Message(role="tool", content='{"at": 3}', call_id="c1"),
    Message(role="assistant", content="At 3."),
)  # fmt: skip
TOOLS = "{% if tools %}<file_sep>tools:{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>{% endif %}"
CALLS = {
    "arguments are an object": (
        "{% for c in m.tool_calls %}<call>{{ c.function | tojson }}</call>{% endfor %}<|im_end|>",
        '<call>{"name": "find_tile", "arguments": {"tile": "it\'s <|im_end|>"}}</call><|im_end|>'),
    "arguments are text": (
        "{% for c in m.tool_calls %}<call>{{ c.function.name + ':' + c.function.arguments }}{% endfor %}<|im_end|>",
        '<call>find_tile:{"tile": "it\'s <|im_end|>"}<|im_end|>'),
    "ids have nine letters": (
        "{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
        "{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>",
        'find_tile{"tile": "it\'s <|im_end|>"}<|im_end|>'),
    "ids say the name": (
        "{% for c in m.tool_calls %}{{ c.id }}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>",
        'functions.find_tile:1{"tile": "it\'s <|im_end|>"}<|im_end|>'),
    "a call ends otherwise": (
        "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}<gh_stars>",
        '{"name": "find_tile", "arguments": {"tile": "it\'s <|im_end|>"}}<gh_stars>'),
    "a call is closed by its result": (
        "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}",
        '{"name": "find_tile", "arguments": {"tile": "it\'s <|im_end|>"}}<file_sep>'),
}  # fmt: skip


@pytest.mark.parametrize("form", CALLS)
def test_calls_are_learned_as_the_template_writes_them(with_template, form):
    written, expected = CALLS[form]
    own = with_template(TOOLS + LOOP % (
        "<file_sep>{{ m.role }}:{% if m.tool_calls %}" + written + "{% else %}{{ m.content }}<|im_end|>{% endif %}",
        "<file_sep>assistant:"))  # fmt: skip
    (sample,) = unfold(own, CALLING)
    done = render(own, sample)
    assert learned(own, done) == [expected, "At 3.<|im_end|>"]
    for place in (1, 3):
        prompt = render(own, CALLING[:place], for_generation=True).tokens
        assert done.tokens[: len(prompt)] == prompt
        assert '"find_tile"' in own.decode(prompt)
    controls = {own.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<gh_stars>", "<file_sep>")}
    pairs = zip(done.tokens, done.supervised, [*done.supervised[1:], False], strict=True)
    last = {token for token, flag, after in pairs if flag and not after}
    assert last <= controls and last <= set(end_tokens(own))


def test_tools_are_text_for_a_template_that_knows_none(tokenizer):
    (sample,) = unfold(tokenizer, CALLING)
    assert sample == CALLING
    done = render(tokenizer, sample)
    assert learned(tokenizer, done) == [
        '{"name": "find_tile", "arguments": {"tile": "it\'s <|im_end|>"}}<|im_end|>',
        '{"name": "answer_in_words", "arguments": {}}\nAt 3.<|im_end|>']  # fmt: skip
    text = tokenizer.decode(done.tokens)
    assert "You have these tools:" in text and '"description": "Finds."' in text
    assert 'user\nResult of find_tile: {"at": 3}<|im_end|>' in text
    prompt = render(tokenizer, CALLING[:3], for_generation=True).tokens
    assert done.tokens[: len(prompt)] == prompt


def test_other_tools_are_another_prompt_and_the_same_conversation_is_not_mixed_up(with_template):
    own = with_template(TOOLS + LOOP % ("<file_sep>{{ m.role }}:{{ m.content }}<|im_end|>", "<file_sep>assistant:"))
    asked = chat("Where?", "There.")
    other = (Message(role="user", content="Where?", tools=(TOOL,)), asked[1])
    assert render(own, asked).tokens != render(own, other).tokens
    assert render_many(own, [other, asked]) == [render(own, other), render(own, asked)]


KEEPS = "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>"


def test_reasoning_goes_where_the_template_puts_it(with_template, tokenizer):
    own = with_template(LOOP % ("<file_sep>{{ m.role }}:" + KEEPS, "<file_sep>assistant:"))
    beside = (chat("q")[0], Message(role="assistant", content="a", reasoning="r"))
    inline = chat("q", "<think>\nr\n</think>\n\na")
    assert shows_reasoning(own) and not shows_reasoning(tokenizer)
    for conversation in (beside, inline):
        assert learned(own, render(own, conversation)) == ["<think>r</think>a<|im_end|>"]
    assert learned(tokenizer, render(tokenizer, beside)) == ["a<|im_end|>"]
    assert learned(tokenizer, render(tokenizer, inline)) == ["<think>\nr\n</think>\n\na<|im_end|>"]
    opened = with_template(LOOP % ("<file_sep>{{ m.role }}:{{ m.content.split('</think>')[-1].strip() }}<|im_end|>",
                                   "<file_sep>assistant:<think>\n"))  # fmt: skip
    assert shows_reasoning(opened)
    for conversation in (beside, inline):
        assert learned(opened, render(opened, conversation)) == ["r\n</think>\n\na<|im_end|>"]


CASES = (
    "{% for m in messages %}<|im_start|>{{ m.role | lower }}\n{{ m.content.replace('/think', '') }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPS_LINES = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.lstrip('\n') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def written(own, conversation):
    return own.apply_chat_template([{"role": m.role, "content": m.content} for m in conversation], tokenize=False)


def test_a_template_that_changes_roles_or_replaces_words_is_followed(with_template):
    own = with_template(CASES)
    for conversation in [
        chat("Hi", "Hello"),
        chat("/think Hi", "Hello"),
        chat("Hi", "so /think"),
        chat("A B", "C"),
    ] * 3:
        assert own.decode(render(own, conversation).tokens) == written(own, conversation)


def test_a_template_that_strips_some_white_space_is_followed_whatever_came_before(with_template):
    own = with_template(STRIPS_LINES)
    for conversation in [chat("a", "  LDA #$01")] * 6 + [chat("a", "\n\n  STA $10"), chat("\nb", " c\n")]:
        assert own.decode(render(own, conversation).tokens) == written(own, conversation)


def test_a_long_text_of_the_template_is_encoded_once(with_template, monkeypatch):
    own = with_template("{{ 'You are kind. ' * 50 }}" + CASES.replace(".replace('/think', '')", "[:90]"))
    render(own, chat("a", "b"))
    from hafs.chat.renderer import Renderer

    texts = []
    encode = Renderer.ids
    monkeypatch.setattr(
        Renderer, "ids", lambda self, each, *, plain: texts.extend(each) or encode(self, each, plain=plain)
    )
    rows = [chat(f"question {number}", f"answer {number}") for number in range(60)]
    for row in rows:
        assert own.decode(render(own, row).tokens) == written(own, row)
    assert sum("You are kind." in text for text in texts) <= 2 * 40
    texts.clear()
    render_many(own, rows)
    assert not any("You are kind." in text for text in texts)
