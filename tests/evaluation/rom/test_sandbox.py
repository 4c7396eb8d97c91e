"""The sandbox: assemblers work in it, and read and write nothing else. All files here are harmless."""

import subprocess
import sys
from pathlib import Path

import pytest

from hafs.evaluation.rom import sandbox, toolchain
from hafs.evaluation.rom.bench import RomJob, check_all
from hafs.evaluation.rom.toolchain import Ca65, DoesNotAssemble, missing, program

ROOT = Path(__file__).resolve().parents[3]
needs_landlock = pytest.mark.skipif(bool(sandbox.why_not()), reason=sandbox.why_not() or "-")
needs_ca65 = pytest.mark.skipif(bool(missing("ca65")), reason=missing("ca65") or "-")
needs_asar = pytest.mark.skipif(bool(missing("asar")), reason=missing("asar") or "-")


def python(code, *arguments):
    """What a child process prints after it has closed itself off from all but its folder."""
    head = "import os, sys; from pathlib import Path; from hafs.evaluation.rom import sandbox\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code, *map(str, arguments)], env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "elsewhere" / "note.bin"
    path.parent.mkdir()
    path.write_bytes(b"\xea\xea\x60")
    return path


CLOSED = "sandbox.close_off(read=[], write=[sys.argv[1]])\n"


@needs_landlock
def test_a_sandboxed_process_uses_its_folder(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    told = python(CLOSED + "p = Path(sys.argv[1]) / 'a'; p.write_text('mine'); print(p.read_text()); p.unlink()", work)
    assert told == "mine"


@needs_landlock
@pytest.mark.parametrize(
    "attempt",
    [
        "Path(sys.argv[2]).read_bytes()",
        "Path(sys.argv[2]).write_bytes(b'x')",
        "Path(sys.argv[2]).unlink()",
        "list(Path(sys.argv[2]).parent.iterdir())",
        "os.truncate(sys.argv[2], 0)",
        "os.link(sys.argv[2], sys.argv[1] + '/copy')",
    ],
)
def test_a_sandboxed_process_can_read_and_write_nothing_else(tmp_path, note, attempt):
    work = tmp_path / "work"
    work.mkdir()
    told = python(f"{CLOSED}try:\n    {attempt}\nexcept OSError as e:\n    print(e.strerror)", work, note)
    assert told in ("Permission denied", "Invalid cross-device link")
    assert note.read_bytes() == b"\xea\xea\x60"


def test_memory_and_the_length_of_files_are_limited(tmp_path):
    limited = "sandbox.limit(memory=1 << 28, file_size=1000)\n"
    assert python(f"{limited}try:\n    bytearray(1 << 29)\nexcept MemoryError:\n    print('full')") == "full"
    long = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    write = "try:\n    Path(sys.argv[1]).write_bytes(bytes(2000))\nexcept OSError as e:\n    print(e.strerror)"
    assert python(long + limited + write, tmp_path / "long") == "File too large"


def assembled(source, syntax):
    return check_all([RomJob(source=source, syntax=syntax, row=None, seed=0)], workers=1, seconds=5)[0]


@needs_landlock
@needs_ca65
def test_ca65_reads_no_file_of_the_machine(note, tmp_path):
    source = f'  .incbin "{note}"'
    own = Ca65(ca65=str(program("ca65")), ld65=str(program("ld65")), sealed=True)
    assert own.assemble(source, tmp_path, 5) == note.read_bytes()  # outside the sandbox it would
    assert "does not assemble" in assembled(source, "ca65").why


@needs_landlock
@needs_asar
@pytest.mark.parametrize("source", ['incbin "NOTE"', 'db readfile1("NOTE", 0)', 'incsrc "NOTE"', 'table "NOTE"'])
def test_asar_reads_no_file_of_the_machine(note, source):
    assert "does not assemble" in assembled(source.replace("NOTE", str(note)), "asar").why
    assert assembled("lda #$01 : rts", "asar").right


@needs_asar
def test_an_assembler_that_runs_on_or_fills_memory_is_ended():
    endless = "macro m()\n%m()\nendmacro\n%m()"
    assert not assembled(endless, "asar").right
    assert assembled("nop", "asar").right


def test_without_landlock_asar_is_refused_and_ca65_is_read_for_words(monkeypatch, note, tmp_path):
    monkeypatch.setattr(sandbox, "why_not", lambda: "this kernel has no Landlock")
    monkeypatch.setattr(toolchain, "program", lambda name: f"/bin/{name}")
    assert missing("asar") == (
        "asar is not used, because files cannot be closed off from it: this kernel has no Landlock"
    )
    with pytest.raises(LookupError, match="no Landlock"):
        toolchain.assembler("asar")
    with pytest.raises(DoesNotAssemble, match="reads another file"):
        toolchain.assembler("ca65").assemble(f'.incbin "{note}"', tmp_path, 5)
