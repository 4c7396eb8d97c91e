"""The chat page, in a real browser."""

import re
import shutil

import httpx
import pytest

from hafs.server.chat_page import as_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
TOKEN = "correct-horse-battery"
ANSWER = """Do this:

```asm
lda #$01
sta $10
```

| a | b |
|---|---|
| 1 | 2 |

<b>bold</b> [x](javascript:alert(1))"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, served):
    """A page of a server, the hosts that it asked, and what went wrong on it."""
    contexts = []

    def start(*words, token=None, size=(1400, 900), dark=False, **options):
        address = served(*words, token=token, **options)
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.asked, page.wrong = set(), []
        page.on("request", lambda request: page.asked.add(re.sub(r"(https?://[^/]+).*", r"\1", request.url)))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
        page.goto(address)
        page.address = address
        return page

    yield start
    for context in contexts:
        context.close()


def ask(page, question):
    before = page.locator(".who summary").count()
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.locator(".who summary").nth(before).wait_for(timeout=20_000)


def scripted(answer):
    quoted = answer.replace("\\", "\\\\").replace("'", "\\'")
    return f"provider.scripted.host.otherwise='{quoted}'"


@in_a_browser
def test_a_conversation_streams_is_rendered_and_tells_who_answered_and_why(opened):
    page = opened(scripted(ANSWER))
    ask(page, "How do I use lda and sta in a subroutine?")
    answer = page.locator(".answer")
    assert answer.locator("pre code span").count() > 2 and answer.locator("td").all_inner_texts() == ["1", "2"]
    assert answer.locator("b, a[href^=javascript]").count() == 0 and "<b>bold</b>" in answer.inner_text()
    assert answer.locator("pre .copy").count() == 1
    summary = page.locator(".who summary")
    assert summary.inner_text().startswith("asm · ")
    summary.click()
    assert page.locator(".times i.score").count() == 4 and page.locator(".times i.time").count() == 2
    ask(page, "and in 16-bit mode?")
    assert page.locator(".question").count() == 2
    assert page.wrong == [] and page.asked == {page.address}


@in_a_browser
def test_conversations_are_listed_opened_after_a_reload_and_deleted(opened):
    page = opened()
    ask(page, "first question")
    page.click("#new")
    ask(page, "second question")
    page.reload()
    assert page.locator("#list div").all_inner_texts() == ["second question\n✕", "first question\n✕"]
    page.click("text=first question")
    page.locator(".who summary").wait_for()
    assert page.locator(".question").all_inner_texts() == ["first question"]
    page.click("[aria-label='Delete first question']")
    assert page.locator("#list div").count() == 1 and page.locator(".question").count() == 0


@in_a_browser
def test_escape_stops_an_answer_and_the_next_question_is_answered(opened):
    page = opened(
        "provider.scripted.host.token_seconds=0.2", scripted("one two three four five six seven eight nine ten")
    )
    page.fill("#question", "Why?")
    page.press("#question", "Enter")
    page.locator(".answer", has_text="three").wait_for(timeout=20_000)
    page.keyboard.press("Escape")
    page.wait_for_selector(".who >> text=stopped")
    assert "ten" not in page.locator(".answer").inner_text()
    assert page.locator("#send").is_visible()
    assert page.wrong == []


@in_a_browser
def test_a_token_is_asked_for_once_and_kept_for_the_tab(opened):
    page = opened(token=TOKEN)
    page.fill("#question", "Why?")
    page.press("#question", "Enter")
    page.fill("#token", TOKEN)
    page.press("#token", "Enter")
    page.locator(".who summary").wait_for()
    ask(page, "and now?")
    assert page.locator(".question").count() == 2


@in_a_browser
def test_a_failure_is_shown_where_the_answer_would_be(opened):
    page = opened("provider.scripted.host.faults=[unauthorized]", "provider.scripted.host.repeat_faults=true")
    page.fill("#question", "Why?")
    page.press("#question", "Enter")
    page.locator(".failed").wait_for(timeout=20_000)
    assert "no provider" in page.locator(".failed").inner_text()


@in_a_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [375, 1400])
def test_nothing_is_cut_off_on_a_phone_or_a_wide_screen(opened, width, dark, tmp_path):
    page = opened(scripted(ANSWER + "\n\n" + "unbroken" * 40), size=(width, 800), dark=dark)
    ask(page, "How do I use lda and sta in a subroutine? " + "x" * 200)
    page.locator(".who summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#question", "#send", "#model", ".answer", ".question"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1, selector
    page.screenshot(path=tmp_path / f"chat-{width}-{'dark' if dark else 'light'}.png")
    if width == 375:
        page.click("#menu")
        assert page.locator("#new").is_visible()
        page.click("#log", position={"x": width - 20, "y": 300})
        assert not page.locator("#new").is_visible()


def test_the_page_admits_nothing_from_elsewhere(served):
    answer = httpx.get(served())
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", answer.text)
    assert httpx.get(served(), headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(f"{served(token=TOKEN)}/chat/render", content=b"x").status_code == 401


def test_markup_and_images_of_a_model_stay_text():
    text = as_html("<script>x</script> ![i](https://example.com/a.png) <img src=x>\n\n```html\n<script>y</script>\n```")
    assert "<script" not in text and "<img" not in text


@pytest.mark.parametrize("word", ["sep", "rep", "rtl", "jsl", "phb", "plb", "xba", "tcd", "mvn", "pea"])
def test_instructions_of_the_65816_are_highlighted(word):
    assert f'<span class="k">{word}</span>' in as_html(f"```asar\n  {word} $10 ; {word} again\n```")
