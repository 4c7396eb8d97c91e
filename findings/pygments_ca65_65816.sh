#!/usr/bin/env bash
# Pygments' lexer "ca65" for 65816 code, the instruction set of the SNES, which the assembler ca65 supports (--cpu 65816).
# Guess: the lexer of an assembler knows the instructions that this assembler takes.
# Seen:  Pygments 2.21.0 marks the 6502's instructions as keywords, and the 65816's own ones (sep, rtl, jsl, phb ...) as plain text.
# Who meets it: anyone who shows SNES code highlighted; the important instructions are the ones without a colour.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pygments==2.21.0
"$folder/venv/bin/python" - <<'PY'
import pygments
from pygments.lexers import get_lexer_by_name
from pygments.token import Keyword

shared, own = "lda sta adc jsr rts pha".split(), "sep rep jsl rtl phb plb xba tcd mvn pea".split()


def known(words):
    marked = {text for kind, text in get_lexer_by_name("ca65").get_tokens("\n".join(f"  {w}" for w in words)) if kind in Keyword}
    return [w for w in words if w in marked]


seen = known(shared), known(own)
print(f"Pygments {pygments.__version__}: of {shared} {len(seen[0])} are keywords, of the 65816's {own} {len(seen[1])}")
assert seen == (shared, []), "the behaviour has changed"
PY
