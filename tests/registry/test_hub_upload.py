"""hafs push against a stand-in for the hub on loopback: what is uploaded, and what never leaves."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hafs.core.errors import ConfigError
from hafs.registry.hub_upload import repository, upload
from hafs.registry.model_card import card


class Hub(BaseHTTPRequestHandler):
    """Takes a new repository and one commit; keeps the files."""

    status = 200

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.server.status != 200:
            return self._answer({"error": "You are not allowed"}, self.server.status)
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.server.url}/owner/repo/commit/abc"
            return self._answer({"commitUrl": url, "commitOid": "abc", "success": True})
        return self._answer({"url": f"{self.server.url}/owner/repo", "name": "owner/repo"})

    def do_GET(self):
        self._answer({"id": "owner/repo", "siblings": [], "sha": "0" * 40})

    def _answer(self, facts, status=200):
        said = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.files, server.asked, server.status = {}, [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_standin")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registered(registry, make, here):
    record, write = make("bread-v1", base_repo="owner/base")

    def fill(folder):
        write(folder)
        (folder / "held_out.jsonl").write_text('{"messages": []}\n')
        (folder / "README.md").write_text(card(record))

    registry.add(record, fill)
    return registry


def test_an_adapter_goes_to_the_hub_with_its_card_and_the_bases_name(registered, hub):
    where = upload(registered, "bread-v1", "owner/repo", form="adapter", private=True, message=None)
    assert where.endswith("/owner/repo")
    assert set(hub.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert b"base_model: owner/base" in hub.files["README.md"]
    assert json.loads(hub.files["adapter_config.json"])["base_model_name_or_path"] == "owner/base"
    assert {token for path, token in hub.asked if "commit" in path} == {"Bearer hf_standin"}


def test_an_export_is_uploaded_as_what_it_is_and_held_out_rows_never_leave(registered, hub, here):
    with pytest.raises(ConfigError, match="hafs export bread-v1 format=gguf"):
        upload(registered, "bread-v1", "owner/repo", form="gguf", private=True, message=None)
    folder = here / "outputs/exports/bread-v1/gguf"
    folder.mkdir(parents=True)
    (folder / "bread-v1.gguf").write_bytes(b"GGUF")
    (folder / "held_out.jsonl").write_text("private")
    upload(registered, "bread-v1", "owner/repo", form="gguf", private=True, message=None)
    assert set(hub.files) == {"README.md", "bread-v1.gguf"}
    assert b"library_name: gguf" in hub.files["README.md"]


def test_an_error_of_the_hub_is_one_line_with_a_fix(registered, hub):
    hub.status = 403
    with pytest.raises(ConfigError, match="does not let this account write") as told:
        upload(registered, "bread-v1", "owner/repo", form="adapter", private=True, message=None)
    assert "HF_TOKEN" in told.value.hint
    assert "\n" not in told.value.fact


@pytest.mark.parametrize("address", ["owner/repo", "hf://repo", "https://huggingface.co/owner/repo", "hf://a/b/c"])
def test_an_address_is_hf_owner_name(address):
    with pytest.raises(ConfigError, match="not an address"):
        repository(address)
