"""What the words of a command line mean, before Hydra reads them.

* `stage=warmup,main` is one sequence (Hydra would call it a sweep); `choice(...)` and `[a],[b]` still sweep. So are
  `provider=openai,local`, a fallback chain, and `expert=asm,debug`, a panel.
* `stage.main.lr=` is an alias of `stages.main.lr=`, where the composed stages live; the same for `provider.NAME.` and
  `expert.NAME.`. Each file of these groups says where: `# @package stages.main`.
* Choosing a model or a dataset leaves the demo: `experiment=sample` sizes the shipped sample for a small CPU, so it is
  switched off unless it was asked for by name.
* Under `-m`, the folder of a job is named by what varies between the jobs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from pydantic import StringConstraints

from hafs.core.errors import ConfigError

SEQUENCES = {
    "stage": "a stage runs once in a sequence",
    "provider": "a provider has one place in the chain",
    "expert": "an expert has one place in the panel",
}
"""Groups whose bare comma list has an order, and why no name may come twice."""
LISTS = ("council", "tasks")
"""Keys whose bare comma list is a list."""
ALIASES = {f"{group}.": f"{group}s." for group in SEQUENCES}
DEMO = "sample"
DEMO_COMMANDS = ("train", "plan")
"""Commands whose default is the demo."""
LEAVES_THE_DEMO = ("model", "dataset")

RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=,+\-\[\]]*$", max_length=120)]
"""A folder name that stays inside the run root on every file system."""

TAKES_A_VALUE = {"-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"}
TAKES_A_VALUE |= {"-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--experimental-rerun"}
_HEAD = re.compile(r"^\+{0,2}(?P<key>[A-Za-z_][\w/]*)=")


def as_sequence(word: str, parser: OverridesParser) -> str:
    """`stage=a,b` as `stage=[a,b]`; any other word as it is.

    Raises:
        ConfigError: A name is listed twice, or a comma stands alone.
    """
    head = _HEAD.match(word)
    if head is None or head["key"] not in (*SEQUENCES, *LISTS):
        return word
    start, value = word[: head.end()], word[head.end() :].strip()
    if value.lower() in ("", "none", "null"):
        return start + "[]"
    if value.strip(", ") != value:
        raise ConfigError(f"{word!r} has a stray comma", hint=f"write {start}{value.strip(', ')}")
    try:
        override = parser.parse_override(word)
    except HydraException:
        return word  # malformed: Hydra says where
    names = _names(override)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{word!r} lists {', '.join(map(repr, twice))} twice", hint=SEQUENCES.get(head["key"]))
    return f"{start}[{','.join(names)}]" if names else word


def _names(override: Override) -> list[str]:
    """The names of a plain sequence; empty for a real sweep."""
    value: Any = override._value
    if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not any(isinstance(x, list | dict) for x in value.list):
        return [str(name) for name in value.list]
    if override.value_type is ValueType.ELEMENT and not isinstance(value, dict):
        return [str(name) for name in (value if isinstance(value, list) else [value])]
    return []


def overrides_among(argv: Iterable[str]) -> list[int]:
    """Positions of the words that are overrides, not flags or their values."""
    positions, value_follows = [], False
    for i, word in enumerate(argv):
        if value_follows or word.startswith("-"):
            value_follows = not value_follows and word in TAKES_A_VALUE
        else:
            positions.append(i)
    return positions


def rewrite(argv: Sequence[str], *, demo: bool = False) -> list[str]:
    """The words as Hydra should read them.

    Args:
        argv: The command line without the program's name.
        demo: Whether this command's default is the shipped demo.
    """
    parser, places = OverridesParser.create(), set(overrides_among(argv))
    flags = [word for i, word in enumerate(argv) if i not in places]
    words = []
    for i in sorted(places):
        word = argv[i]
        for alias, target in ALIASES.items():
            word = re.sub(rf"^([+~]{{0,2}}){re.escape(alias)}", rf"\g<1>{target}", word)
        words.append(as_sequence(word, parser))
    keys = {word.split("=", 1)[0].lstrip("+~") for word in words}
    if demo and keys & set(LEAVES_THE_DEMO) and "experiment" not in keys:
        words.append("experiment=none")
    if {"-m", "--multirun"} & set(flags):
        words.append(_name_jobs_by_what_varies(words, parser))
    return words + flags  # in one piece: argparse takes overrides from one place only


def _name_jobs_by_what_varies(words: Iterable[str], parser: OverridesParser) -> str:
    swept, fixed = _swept_and_fixed(words, parser)
    quoted = ",".join(f"'{key}'" for key in ["experiment", *fixed] if key not in swept)
    return f"hydra.job.config.override_dirname.exclude_keys=[{quoted}]"


def _swept_and_fixed(words: Iterable[str], parser: OverridesParser) -> tuple[list[str], list[str]]:
    """Keys that vary between the jobs, and the others; each once, as typed."""
    keys: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for word in words:
        try:
            override = parser.parse_override(word)
        except HydraException:
            continue
        keys[override.is_sweep_override()][override.get_key_element().lstrip("+~")] = None
    return list(keys[True]), list(keys[False])


def name_of_sweep(name: str, words: Iterable[str], parts: Mapping[str, str]) -> str:
    """The name of a sweep's folder: the run's, with what varies between the jobs in the place of what it has of it.

    Args:
        name: Of a run with none of the varied values.
        words: Overrides; a name that is typed is the sweep's as it is.
        parts: For groups that a name is made of, what stands in it for them.
    """
    swept, fixed = _swept_and_fixed(words, OverridesParser.create())
    if "name" in fixed:
        return name
    pieces = name.split("-")
    for key in swept:
        part = parts.get(key.split(".")[0].split("@")[0], "").split("-")
        at = next((i for i in range(len(pieces)) if pieces[i : i + len(part)] == part), len(pieces))
        pieces[at : at + len(part)] = [re.sub(r"[^\w.+]", "_", key)]
    return "-".join(pieces)
