"""Near-siblings by template: questions that differ only in numbers and names.

"How much water for 500 g of flour?" and "How much water for 700 g of flour?" are one question twice. With one of them
in training, the other says little about what the model has learned, so both belong to the same split.
"""

import re

import numpy as np
import xxhash

LARGEST = 0.2
"""Share of the rows above which a template is the task itself, such as "Convert 3 miles": its rows are split."""
_LONGEST = 400  # characters of a question; longer ones are compared as near duplicates
_FEWEST_WORDS = 4  # that a template must keep; "What is Bread?" is no template
_QUOTED = re.compile(r"\"[^\"\n]*\"|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)|«[^»\n]*»|“[^”\n]*”")
_END_OF_SENTENCE = ".!?:;)("
_MASK = "\x1a"


def template_of(question: str) -> str | None:
    """The question with its numbers and names masked; None if too little of it is left, or it is long.

    A name is a word within a sentence that begins with a capital, holds a digit or an underscore, or is quoted.
    Neighbouring masks count as one, so that "New York" and "Paris" are alike.
    """
    if len(question) > _LONGEST:
        return None
    words, first = [], True
    for word in _QUOTED.sub(_MASK, question).split():
        if word.isalpha() and word.islower():  # most words; the tests below take five times as long
            words.append(word)
            first = False
            continue
        bare = word.strip(".,;:!?()[]{}%$#\"'")
        name = _MASK in word or any(letter.isdigit() or letter == "_" for letter in word) or not bare
        name = name or (not first and bare[:1].isupper() and bare != "I")
        if not name:
            words.append(bare.lower())
        elif not words or words[-1] != _MASK:
            words.append(_MASK)
        first = word[-1] in _END_OF_SENTENCE
    kept = [word for word in words if word != _MASK]
    return " ".join(words) if len(kept) >= _FEWEST_WORDS and len(kept) < len(words) else None


def template_key(question: str, otherwise: int) -> int:
    """The 64-bit key of a question's template; `otherwise` if it has none."""
    template = template_of(question)
    return otherwise if template is None else xxhash.xxh3_64_intdigest(f"template\x1f{template}".encode())


def families(opening: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, int]:
    """The key of each row's family, uint64[N]: its template's, unless more than `LARGEST` of all rows have that.

    Args:
        opening: uint64[N], keys of the rows' questions.
        template: uint64[N], keys of their templates; where there is none, the opening.

    Returns:
        The keys, and how many rows belong to templates that are too common.
    """
    order = np.argsort(template, kind="stable")
    ordered = template[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)])
    sizes = np.diff(np.append(starts, len(ordered)))
    common = np.empty(len(template), bool)
    common[order] = np.repeat(sizes > LARGEST * len(template), sizes)
    common &= template != opening
    return np.where(common, opening, template), int(common.sum())
