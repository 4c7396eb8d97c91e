"""What is built for people to install, and the files a contributor looks for."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def built(kind, source, folder):
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    out = subprocess.run(command, check=False, cwd=source, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    (path,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source distribution, unpacked: what a build from it sees."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    with zipfile.ZipFile(built("wheel", unpacked, tmp_path_factory.mktemp("wheel"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_built_from_the_sdist_has_license_types_config_and_samples(wheel):
    names = set(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {"hafs/py.typed", "hafs/__init__.py"} <= names
    assert {f"hafs/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")} <= names


def test_a_wheel_holds_every_data_file_that_a_config_names(wheel):
    named = {
        name
        for path in (ROOT / "conf").rglob("*.yaml")
        for name in re.findall(r"\$\{shipped:([\w./-]+)\}", path.read_text())
    }
    assert named
    for name in named:
        assert any(member.startswith(f"hafs/sample_data/{name}") for member in wheel), name


def test_a_wheel_holds_every_source_file_and_template_and_no_compiled_one(wheel):
    files = [path for path in (ROOT / "hafs").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in files} <= set(wheel)
    assert not [name for name in wheel if name.endswith(".pyc")]


def test_a_wheel_holds_every_template_and_style(wheel):
    shipped = {str(path.relative_to(ROOT)) for kind in ("*.j2", "*.tcss") for path in (ROOT / "hafs").rglob(kind)}
    assert len(shipped) > 10
    assert shipped <= set(wheel)


def test_the_sdist_has_what_a_packager_needs(unpacked):
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "constraints.txt", "tests/conftest.py", "docs", "examples"):
        assert (unpacked / name).exists(), name


def test_version_is_that_of_the_package_and_help_names_it(here):
    script = [Path(sys.executable).parent / "hafs"]
    said = [
        subprocess.run([*script, word], check=True, capture_output=True, text=True).stdout
        for word in ("--version", "-V", "--help")
    ]
    assert said[0] == said[1] == f"hafs {PROJECT['version']}\n"
    assert said[2].startswith(f"hafs {PROJECT['version']}: ")
    assert "--version" in said[2]


def test_the_changelog_has_the_version_of_the_package():
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_license_is_the_one_that_is_declared():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text[:200]
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_pre_commit_hooks_run_what_make_lint_runs():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"\$\(BIN\)/([^&\n]+?)\s*(?:&&|$)", recipe.group(1), re.MULTILINE)
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repo["hooks"]] == [f".venv/bin/{command}" for command in commands]
    tool = Path(sys.executable).parent / "pre-commit"
    subprocess.run([tool, "validate-config", ROOT / ".pre-commit-config.yaml"], check=True, capture_output=True)
