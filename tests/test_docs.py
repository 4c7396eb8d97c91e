"""The manual: it builds without a warning, is complete, and what it tells people to type is real."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documented import commands_in, composes

from hafs.cli import commands
from hafs.config import check, compose, conf_folder
from hafs.config.tree import groups
from hafs.core.errors import HafsError

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])
OF_A_QUESTION = ("provider", "expert", "router", "synthesizer", "policy")
"""Config groups of `hafs ask`."""
GIVEN = re.compile(r"`\./(conf/(\w+)/(\w+)\.yaml)`:\n\n((?: {4}.*\n|\n)+)")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built manual."""
    folder = tmp_path_factory.mktemp("site")
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    build = [Path(sys.executable).parent / "mkdocs", "build", "--strict", "-d", folder, "-f", ROOT / "mkdocs.yml"]
    out = subprocess.run(build, check=False, cwd=ROOT, env={**os.environ, **quiet}, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr
    return folder


def test_the_manual_builds_without_a_warning_and_has_a_page_for_every_command_and_group(site):
    for name in commands():
        assert (site / "reference/commands" / name / "index.html").is_file(), name
    for group in groups():
        assert (site / "reference/config" / group / "index.html").is_file(), group


def test_every_key_of_every_config_group_is_in_the_reference(site):
    for path in conf_folder().glob("*/*.yaml"):
        group = path.parent.name
        page = (site / "reference/config" / group / "index.html").read_text()
        assert f"{group}={path.stem}" in page
        for key in set(yaml.safe_load(path.read_text()) or {}) - {"defaults", "_target_", "hydra"}:
            assert f"<code>{key}" in page, f"{group}/{path.name}: {key}"


def test_the_reference_names_types_and_meanings(site):
    page = re.sub(r"<[^>]+>", " ", (site / "reference/config/stage/index.html").read_text())
    assert re.search(r"schedule\s+cosine\s+constant or linear or cosine", page)
    assert "Peak learning rate" in page


@pytest.fixture
def folder_of_the_reader(here, monkeypatch):
    """A folder with what the pages tell people to put there."""
    for example in (ROOT / "examples").iterdir():
        if (example / "conf").is_dir():
            shutil.copytree(example / "conf", here / "conf", dirs_exist_ok=True)
        for file in example.glob("*.py"):
            shutil.copy(file, here)
    bread = "specialization: bread\nexamples: ['How long does rye proof?']\nadapter: bread-v1\n"
    (here / "conf/expert/bread.yaml").write_text(bread)  # as `hafs new expert bread` writes it
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setenv("HAFS_PLUGINS", "brevity")
    return here


@pytest.mark.parametrize(
    "page", [p for p in PAGES if commands_in(p.read_text())], ids=lambda p: str(p.relative_to(ROOT))
)
def test_every_command_of_a_page_composes_and_passes_the_check(page, folder_of_the_reader):
    for name, words in commands_in(page.read_text()):
        try:
            composes(name, words)
        except HafsError as error:
            raise AssertionError(f"hafs {name} {words}: {error}") from error


@pytest.mark.parametrize(
    ("path", "group", "option", "text"),
    [found for page in PAGES for found in GIVEN.findall(page.read_text())],
    ids=lambda value: value if re.fullmatch(r"conf/\S+", value) else "",
)
def test_every_file_that_a_page_gives_is_an_option(here, path, group, option, text):
    (here / path).parent.mkdir(parents=True)
    (here / path).write_text(re.sub(r"^ {4}", "", text, flags=re.MULTILINE))
    check(compose("ask" if group in OF_A_QUESTION else "train", [f"{group}={option}"]))


def test_pages_give_files_and_commands():
    assert sum(len(commands_in(page.read_text())) for page in DOCS.rglob("*.md")) >= 80
    assert sum(len(GIVEN.findall(page.read_text())) for page in DOCS.rglob("*.md")) >= 2


def test_every_term_of_the_glossary_is_there_once_and_in_order():
    terms = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert terms == sorted(set(terms), key=str.lower)


def test_every_link_between_pages_leads_somewhere():
    generated = {f"reference/{kind}/" for kind in ("commands", "config")}
    for page in [page for page in PAGES if page.name != "SUMMARY.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            target = (page.parent / link).resolve()
            made = DOCS in target.parents and str(target.relative_to(DOCS)).startswith(tuple(generated))
            assert made or target.exists(), f"{page.name}: {link}"


def test_every_file_that_the_architecture_page_names_is_there():
    page = (DOCS / "explanation/architecture.md").read_text()
    named = set(re.findall(r"`((?:hafs/|conf/)?[a-z_]+/[\w/]*(?:\.py)?|train\.py)`", page))
    packages = {path.name for path in (ROOT / "hafs").iterdir() if (path / "__init__.py").exists()}
    assert {path.strip("/") for path in named if path.endswith("/") and path.count("/") == 1} >= packages
    for path in named - {"conf/", "hafs/"}:
        assert (ROOT / path).exists() or (ROOT / "hafs" / path).exists(), path


def text_of(page):
    return (DOCS / "reference" / page).read_text()


SOURCE = "\n".join(path.read_text() for path in (ROOT / "hafs").rglob("*.py"))


def test_every_event_is_in_the_reference():
    written = set(re.findall(r"\bevent\(\s*\"(\w+)\"", SOURCE))
    table = text_of("events.md").split("## events.jsonl")[1]
    told = set(re.findall(r"\w+", " ".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", table, re.MULTILINE))))
    assert written == told


def test_every_exit_code_is_in_the_reference():
    from hafs.core import errors

    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", text_of("exit-codes.md"), re.MULTILINE)}


def test_every_variable_that_hafs_reads_is_in_the_reference():
    read = set(re.findall(r"\"(HAFS_[A-Z]+)\"", SOURCE)) | set(
        re.findall(r"token_env: (HAFS_\w+)", (ROOT / "conf/serve.yaml").read_text())
    )
    inside = {"HAFS_SWEEP"}  # from a sweep to the processes of its jobs
    assert read - inside == set(re.findall(r"`(HAFS_[A-Z_]+)`", text_of("environment.md")))


def test_every_field_of_the_registry_is_in_the_reference():
    from dataclasses import fields

    from hafs.registry.record import Mixture, Record

    named = set(re.findall(r"`(\w+)`", text_of("registry.md")))
    for kind in (Record, Mixture):
        assert {field.name for field in fields(kind)} - {"name"} <= named


_PATH = re.compile(r"(?<![\w/.*{<-])((?:hafs|conf|tests|data|docs|benchmarks|examples)/[\w./-]*\w)")
_MODULE = re.compile(r"(?<![\w./-])(hafs(?:\.\w+)+)")
_FILE = re.compile(r"(?<![\w./*-])((?:\w+/)*\w+\.py)\b")
_READERS = {"data/crafts.jsonl", "data/more.jsonl.gz", "conf/expert/bread.yaml"}
"""Files of the reader's own, in examples of what a path may be."""


def _names(page):
    """What a page names: paths and dotted names of the repository, and bare names of Python files."""
    text = re.sub(r"\]\([^)]*\)", "]", page.read_text())  # links are checked when the manual is built
    return {*_PATH.findall(text)}, {*_MODULE.findall(text)}, {*_FILE.findall(text)}


def _is_there(dotted):
    """Whether a module, or a name in one, exists."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:size])
        if path.is_dir() or path.with_suffix(".py").is_file():
            found = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
            rest = parts[size:]
            return not rest or (size > 1 and re.search(rf"\b{rest[0]}\b", found.read_text())) or size == 1
    return False


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "log.md"], ids=lambda page: page.name)
def test_the_files_and_modules_that_a_page_names_exist(page):
    paths, modules, files = _names(page)
    given = {match[0] for match in GIVEN.findall(page.read_text())}
    gone = [path for path in paths if "NAME" not in path and path not in {*given, *_READERS}]
    gone = [path for path in gone if not any(root.joinpath(path).exists() for root in (ROOT, *EXAMPLES))]
    gone += [dotted for dotted in modules if not _is_there(dotted)]
    gone += [name for name in files if not [*ROOT.glob(f"*/**/{name}"), *ROOT.glob(name)]]
    assert not sorted(gone)
