"""Datasets of the hub, from a stand-in on loopback."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hafs.core.errors import DataError
from hafs.data.hub import files_of_split, hub_name
from hafs.data.prepare import prepare
from hafs.data.size import files_of

COMMIT = {"main": "a" * 40, "v2": "b" * 40}


def rows(word, count=40):
    return "".join(
        json.dumps({"question": f"{word} {n}?", "answer": f"It is {n}."}) + "\n" for n in range(count)
    ).encode()


FILES = {
    "main": {"data/train-00000.jsonl": rows("first"), "data/train-00001.jsonl": rows("second"),
             "data/test-00000.jsonl": rows("held"), "README.md": b"# Sample\n"},
    "v2": {"data/train-00000.jsonl": rows("newer", 7)},
}  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as listing and downloading a dataset needs."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(self.path)
        parts = self.path.partition("?")[0].split("/")
        if parts[1] == "api" and parts[3:5] == ["owner", "sample"]:
            return self._json(parts[6] if len(parts) > 6 else "main", tree=parts[5:6] == ["tree"])
        if parts[1:4] == ["datasets", "owner", "sample"] and parts[4] == "resolve":
            named = next((name for name, commit in COMMIT.items() if parts[5] in (name, commit)), None)
            body = FILES[named].get("/".join(parts[6:])) if named else None
            return self._send(body, COMMIT.get(named, ""))
        return self._send(None, "")

    def _json(self, revision, *, tree):
        named = next((name for name, commit in COMMIT.items() if revision in (name, commit)), None)
        listed = [{"rfilename": name} for name in FILES.get(named, ())]
        files = FILES.get(named, {}).items()
        tree_of = [{"type": "file", "path": path, "size": len(body), "oid": "0"} for path, body in files]
        body = (
            tree_of
            if tree
            else {"id": "owner/sample", "sha": COMMIT.get(named), "siblings": listed, "private": False, "tags": []}
        )
        self._send(json.dumps(body).encode() if named else None, "")

    def _send(self, body, commit):
        if body is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from huggingface_hub import constants

    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    pattern = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", pattern)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def named(files):
    return [path.name for path in files]


def test_a_name_of_the_hub_is_the_files_of_its_split(hub, described):
    assert named(files_of(described("hf://owner/sample"))) == ["train-00000.jsonl", "train-00001.jsonl"]
    assert named(files_of(described("hf://owner/sample", split="test"))) == ["test-00000.jsonl"]
    newer = files_of(described("hf://owner/sample", revision="v2"))
    assert newer == files_of(described("hf://owner/sample@v2"))
    assert len(newer[0].read_bytes().splitlines()) == 7
    with pytest.raises(DataError, match="has no split 'nothing'"):
        files_of(described("hf://owner/sample", split="nothing"))
    with pytest.raises(DataError, match="the hub does not provide 'hf://owner/other'"):
        files_of(described("hf://owner/other"))


def test_rows_of_the_hub_are_prepared_and_stay_when_the_hub_is_gone(hub, described, tokenizer, tmp_path, monkeypatch):
    dataset = described("hf://owner/sample")
    done = prepare(dataset, tokenizer, seed=7, cache=tmp_path / "cache")
    assert (done.report.rows, done.report.formats) == (80, {"question/answer": 80})
    hub.shutdown()
    hub.server_close()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # it tries again for 20 s
    assert named(files_of(dataset)) == ["train-00000.jsonl", "train-00001.jsonl"]
    with pytest.raises(DataError, match="not in the cache, and the hub cannot be reached"):
        files_of(described("hf://owner/never"))


@pytest.mark.parametrize(
    ("listed", "folder", "split", "chosen"),
    [
        (["a.jsonl", "b.parquet", "README.md"], "", "train", ["a.jsonl", "b.parquet"]),
        (["train.csv", "validation.csv"], "", "val", ["validation.csv"]),
        (["de/train/0.parquet", "en/train/0.parquet"], "en", "train", ["en/train/0.parquet"]),
        (["data/train_sft-0.parquet", "data/test_sft-0.parquet"], "", "train", ["data/train_sft-0.parquet"]),
        (["data/code-0.parquet", "data/math-0.parquet"], "", "math", ["data/math-0.parquet"]),
    ],
)
def test_a_split_is_a_word_in_the_names_of_files(listed, folder, split, chosen):
    assert files_of_split("hf://o/n", listed, folder, split) == chosen


def test_several_parts_are_named_instead_of_mixed():
    with pytest.raises(DataError, match="several parts: de, en") as refused:
        files_of_split("hf://o/n", ["de/train.jsonl", "en/train.jsonl"], "", "train")
    assert refused.value.hint == "name one: dataset.path=hf://o/n/de"
    with pytest.raises(DataError, match="is not a dataset on the hub"):
        hub_name("hf://only-a-name")
