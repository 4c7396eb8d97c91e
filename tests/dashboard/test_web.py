"""The live page and the report of a run, over HTTP and in a real browser."""

import asyncio
import re
import shutil
import socket
import subprocess
import threading
import time

import httpx
import pytest
import uvicorn
from journals import generation, line, step, whole_run, write

from hafs.core import records
from hafs.core.errors import ConfigError
from hafs.dashboard.web import page, refuse_public, serve
from hafs.runs import report
from hafs.runs.history import JournalReader

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
FIGURES = ("train/loss", "train/lr", "train/tokens_per_second", "train/grad_norm", "train/accuracy",
           "machine/gpu_reserved_bytes", "machine/gpu_percent")  # fmt: skip


def get(app, path, host="127.0.0.1"):
    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path)

    return asyncio.run(ask())


def pages(*folders):
    return page([JournalReader(folder) for folder in folders], refresh_seconds=0.2)


def test_the_page_has_every_figure_and_no_external_resource(tmp_path):
    answer = get(pages(whole_run(tmp_path / "run")), "/")
    assert answer.status_code == 200
    assert all(f"<code>{name}</code>" in answer.text for name in FIGURES)
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for words in ("under 90 %", "step 50 of 80", "epoch 2 of 2", "I cannot.", "lda #1", "the loss is nan"):
        assert words in answer.text


def test_the_body_has_new_events_and_several_runs_are_compared(tmp_path):
    folder = whole_run(tmp_path / "run")
    app = pages(folder, whole_run(tmp_path / "other", steps=30))
    assert "2 runs" in get(app, "/").text
    assert "step 50 of 80" in get(app, "/body?run=0").text
    write(folder, step(60))
    assert "step 51 of 80" in get(app, "/body?run=0").text
    assert get(app, "/body?run=7").status_code == 200


def test_foreign_host_headers_and_public_addresses_are_refused(tmp_path):
    assert get(pages(whole_run(tmp_path / "run")), "/", host="evil.example").status_code == 400
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):
        with pytest.raises(ConfigError, match="this machine only"):
            refuse_public(host)
    for host in ("127.0.0.1", "localhost", "::1"):
        refuse_public(host)


def test_a_port_in_use_is_an_error_that_suggests_the_next_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            serve([], host="127.0.0.1", port=port, refresh_seconds=1.0)
    assert f"port {port} cannot be used" in str(error.value)
    assert f"port={port + 1}" in str(error.value)


def test_text_from_events_is_escaped(tmp_path):
    folder = whole_run(tmp_path / "run")
    write(folder, generation(60, "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"))
    write(folder, line("skipped", 2000.0, total=60, why="<b>bold</b>"))
    text = get(pages(folder), "/body").text
    whole = get(pages(folder), "/").text
    page = report.write(folder).read_text()
    for shown in (text, whole.replace("<script>\nconst main", ""), page):
        assert "<script>" not in shown
        assert "<img" not in shown
        assert "<b>bold" not in shown
        assert "&lt;b&gt;bold" in shown
        assert "&lt;script&gt;alert(1)" in shown


def test_the_name_of_a_run_is_escaped(tmp_path):
    folders = [whole_run(tmp_path / name) for name in ("<b>bold<b>", "other")]
    for text in (get(pages(*folders), "/").text, get(pages(*folders), "/?run=0").text):
        assert "<b>bold" not in text
        assert "&lt;b&gt;bold" in text
    assert "<b>bold" not in report.write(folders[0]).read_text()


def test_the_report_is_one_file_with_curves_stages_data_events_and_samples(tmp_path):
    folder = whole_run(tmp_path / "run")
    facts = {"name": "alttp_asm", "rows": 800, "rejected": {"empty_output": 3}, "lengths": {"p50": 120},
             "splits": {"train": {"samples": 670, "groups": 600, "tokens": 9000, "supervised": 5000}}}  # fmt: skip
    records.write_record(folder / "data_report.json", facts)
    text = report.write(folder).read_text()
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    for words in ("<svg", "Stages", "3.5", "alttp_asm", "3 empty_output", "670", "Events", "Answers", "lda #1"):
        assert words in text


def test_a_damaged_data_report_is_named_in_place_of_its_tables(tmp_path):
    folder = whole_run(tmp_path / "run")
    (folder / "data_report.json").write_text("null")
    data = report.write(folder).read_text().split("<h2>Data</h2>")[1]
    assert "data_report.json is damaged" in data
    assert "<table>" not in data


@pytest.fixture
def served(tmp_path):
    folder = whole_run(tmp_path / "hyrule-asm-v1")
    server = uvicorn.Server(uvicorn.Config(pages(folder), host="127.0.0.1", port=0, log_level="error"))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield folder, f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    listener.close()


def browser(tmp_path, *words):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}/p"]
    return subprocess.run([CHROMIUM, *flags, *words], capture_output=True, text=True, timeout=100, check=True).stdout


@in_a_browser
def test_a_real_browser_draws_the_page_and_updates_it(served, tmp_path):
    folder, address = served
    growing = threading.Timer(1.5, lambda: write(folder, *(step(n) for n in range(60, 70))))
    growing.start()
    dom = browser(tmp_path, "--virtual-time-budget=6000", "--timeout=6000", "--dump-dom", address)
    growing.join()
    assert dom.count("<svg") == len(FIGURES)
    if "step 60 of 80" not in dom:  # virtual time ran ahead of the file; look again
        dom = browser(tmp_path, "--dump-dom", address)
    assert "step 60 of 80" in dom
    assert "away" not in re.findall(r"<body[^>]*>", dom)[0]


@in_a_browser
def test_a_screenshot_of_the_page_is_not_empty(served, tmp_path):
    from PIL import Image

    _, address = served
    browser(tmp_path, "--window-size=900,1200", f"--screenshot={tmp_path}/page.png", address)
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (900, 1200)
        assert len(image.convert("RGB").resize((90, 120)).getcolors(10800)) > 50
