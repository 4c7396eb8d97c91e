"""Rewrites overrides before Hydra parses them.

* `stage=warmup,main` is one sequence (Hydra would sweep); `choice(...)` and `[a],[b]` still sweep. The same holds for
  `provider=openai,local`, a failover chain, and for `expert=asm,debug`, a panel.
* `stage.main.lr=` is an alias of `stages.main.lr=`, where the composed stages are; the same holds for `provider.NAME.`
  and `expert.NAME.`. Each file of these groups names its place: `# @package stages.main`.
* Choosing a model or a dataset switches the demo off: `experiment=sample` sets sizes for the shipped sample on a small
  CPU, so it applies to another model or dataset only if it is given explicitly. The user's own rows are trained with
  `experiment=own_data`, which chooses epochs and rates by size.
* `dataset.path=x.jsonl` alone means `dataset=jsonl`; `model=owner/name`, or a folder with a model, means `model=hub`.
* Prose may contain commas and colons: `specialization=bread: water, salt`.
* With `-m`, the folder of a job is named by the keys that vary between the jobs.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from pydantic import AfterValidator

from hafs.config.earlier import current_overrides
from hafs.core.errors import ConfigError

SEQUENCES = {
    "stage": "a stage runs once in a sequence",
    "provider": "a provider has one place in the chain",
    "expert": "an expert has one place in the panel",
}
"""Groups whose bare comma list is a sequence, and why a name may be listed only once."""
LISTS = ("council", "tasks")
"""Keys whose bare comma list is a list."""
ALIASES = {f"{group}.": f"{group}s." for group in SEQUENCES}
PROSE = ("specialization", "system", "question", "instruction", "instructions", "otherwise", "under")
"""Keys that hold text: their value is never a list of values."""
PATHS = ("path", "rows", "to", "adapter", "repo", "folder")
"""Keys that hold a path: its value may contain what Hydra's grammar does not accept, such as `=`, `(` or an umlaut."""
DEMO = "sample"
OWN_DATA = "own_data"
"""The experiment for the user's own rows."""
DEMO_COMMANDS = ("train", "plan")
"""Commands that run the demo by default."""
LEAVES_THE_DEMO = ("model", "dataset")

LONGEST_NAME = 120
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+\-\[\]]*")


def run_name(text: str) -> str:
    """The text, if it can be a run's folder.

    Raises:
        ValueError: It cannot; the message says what a name is, and gives one.
    """
    if _RUN_NAME.fullmatch(text) and len(text) <= LONGEST_NAME:
        return text
    near = called_after(text)
    raise ValueError(f"a name is made of letters, digits and . _ - + =, at most {LONGEST_NAME}; for example {near}")


def called_after(path: object) -> str:
    """The name for what comes from a file, a folder or a repository: its last part, without suffixes."""
    first = path[0] if isinstance(path, Sequence) and not isinstance(path, str) and path else path
    parts = [part for part in re.split(r"[/\\]", str(first)) if part and not set(part) & set("*?[")]
    parts = [*parts[:-1], parts[-1].partition("@")[0]] if parts else []  # hf://owner/name@commit
    stem = re.sub(r"(\.(jsonl?|csv|tsv|parquet|arrow|gz|zst|bz2|safetensors|gguf))+$", "", parts[-1] if parts else "")
    return re.sub(r"[^A-Za-z0-9._\-]+", "_", stem).strip("._-")[:60] or "data"


RunName = Annotated[str, AfterValidator(run_name)]
"""A folder name that is valid on every file system and stays inside the folder of runs."""

TAKES_A_VALUE = {"-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"}
TAKES_A_VALUE |= {"-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--experimental-rerun"}
_HEAD = re.compile(r"^\+{0,2}(?P<key>[A-Za-z_][\w/]*)=")


def as_sequence(word: str, parser: OverridesParser) -> str:
    """`stage=a,b` becomes `stage=[a,b]`; any other override is returned as it is.

    Raises:
        ConfigError: A name is listed twice, or there is a stray comma.
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
        return word  # malformed: Hydra reports where
    names = _names(override)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{word!r} lists {', '.join(map(repr, twice))} twice", hint=SEQUENCES.get(head["key"]))
    return f"{start}[{','.join(names)}]" if names else word


def _names(override: Override) -> list[str]:
    """The names of a plain sequence; empty for a sweep."""
    value: Any = override._value
    if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not any(isinstance(x, list | dict) for x in value.list):
        return [str(name) for name in value.list]
    if override.value_type is ValueType.ELEMENT and not isinstance(value, dict):
        return [str(name) for name in (value if isinstance(value, list) else [value])]
    return []


def overrides_among(argv: Iterable[str]) -> list[int]:
    """Positions of the arguments that are overrides, not flags or values of flags."""
    positions, value_follows = [], False
    for i, word in enumerate(argv):
        if value_follows or word.startswith("-"):
            value_follows = not value_follows and word in TAKES_A_VALUE
        else:
            positions.append(i)
    return positions


def rewrite(argv: Sequence[str], *, demo: bool = False) -> list[str]:
    """The arguments as Hydra should parse them.

    Args:
        argv: The command line without the program's name.
        demo: Whether this command runs the shipped demo by default.
    """
    parser, places = OverridesParser.create(), set(overrides_among(argv))
    flags = [word for i, word in enumerate(argv) if i not in places]
    given, renamed = current_overrides(argv[i] for i in sorted(places))
    for line in renamed:
        print(f"hafs: {line}", file=sys.stderr)
    overrides = [as_sequence(_without_alias(word), parser) for word in given]
    overrides = [_path(_prose(word), parser) for word in _hub_models(_own_rows(overrides))]
    keys = {word.split("=", 1)[0].lstrip("+~") for word in overrides}
    if demo and keys & set(LEAVES_THE_DEMO) and "experiment" not in keys:
        overrides.append(f"experiment={OWN_DATA if _is_own_data(overrides) else 'none'}")
    if {"-m", "--multirun"} & set(flags):
        overrides.append(_name_jobs_by_what_varies(overrides, parser))
    return overrides + flags  # together: argparse accepts overrides in one place only


def _without_alias(word: str) -> str:
    for alias, target in ALIASES.items():
        word = re.sub(rf"^([+~]{{0,2}}){re.escape(alias)}", rf"\g<1>{target}", word)
    return word


def _own_rows(overrides: Sequence[str]) -> list[str]:
    """`dataset.path=` without a dataset, or an experiment that may choose one, is one of rows: `dataset=jsonl`."""
    values = {key: value for key, _, value in (word.lstrip("+~").partition("=") for word in overrides)}
    no_choice = values.get("experiment", "none") in ("none", OWN_DATA)
    alone = "dataset.path" in values and "dataset" not in values and no_choice
    return ["dataset=jsonl", *overrides] if alone else list(overrides)


def _is_own_data(overrides: Sequence[str]) -> bool:
    """Whether the rows are the user's."""
    values = dict(word.lstrip("+~").split("=", 1) for word in overrides if "=" in word)
    own = Path("conf/dataset", f"{values.get('dataset', '')}.yaml").is_file() and conf_is_own()
    return "dataset.path" in values or own


def conf_is_own() -> bool:
    """Whether `./conf` is the user's, not the shipped one."""
    return not Path("conf/train.yaml").is_file()


def _hub_models(overrides: Sequence[str]) -> list[str]:
    """`model=owner/name`, or a folder with a model, is a model of the hub."""
    found: list[str] = []
    for word in overrides:
        key, equals, value = word.partition("=")
        bare = value.strip("'\"")
        if key == "model" and equals and ("/" in bare or Path(bare, "config.json").is_file()):
            found += [f"{key}=hub", f"model.weights.repo={value}"]
        else:
            found.append(word)
    return found


def _prose(word: str) -> str:
    """Text with commas and colons as one value."""
    key, equals, value = word.partition("=")
    if not equals or key.rsplit(".", 1)[-1] not in PROSE or not re.search(r"[,:;()\[\]{}'\"#]", value):
        return word
    if value[:1] in "'\"[{" or "${" in value:
        return word  # quoted already, or meant for Hydra
    return f"{key}={_quoted(value)}"


def _path(word: str, parser: OverridesParser) -> str:
    """A path as one value, if Hydra's grammar would read it as something else and it is not a list."""
    key, equals, value = word.partition("=")
    if not equals or not value or key.rsplit(".", 1)[-1] not in PATHS or value[0] in "'\"" or "${" in value:
        return word
    try:
        override = parser.parse_override(word)
        alike = not override.is_sweep_override() and override.value() == value
    except HydraException:
        return f"{key}={_quoted(value)}" if value[0] not in "[{" or Path(value).exists() else word
    return word if alike or not Path(value).exists() else f"{key}={_quoted(value)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _name_jobs_by_what_varies(overrides: Iterable[str], parser: OverridesParser) -> str:
    swept, fixed = _swept_and_fixed(overrides, parser)
    quoted = ",".join(f"'{key}'" for key in ["experiment", *fixed] if key not in swept)
    return f"hydra.job.config.override_dirname.exclude_keys=[{quoted}]"


def _swept_and_fixed(overrides: Iterable[str], parser: OverridesParser) -> tuple[list[str], list[str]]:
    """Keys that vary between the jobs, and the other keys; each once, as typed."""
    keys: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for word in overrides:
        try:
            override = parser.parse_override(word)
        except HydraException:
            continue
        keys[override.is_sweep_override()][override.get_key_element().lstrip("+~")] = None
    return list(keys[True]), list(keys[False])


def name_of_sweep(name: str, overrides: Iterable[str], parts: Mapping[str, str]) -> str:
    """The name of a sweep's folder: the run's name, in which each varied part is replaced by its key.

    Args:
        name: Of a run without the varied values.
        overrides: Overrides; `name=` among them is the sweep's name as it is.
        parts: By group, its part of the name.
    """
    swept, fixed = _swept_and_fixed(overrides, OverridesParser.create())
    if "name" in fixed:
        return name
    pieces = name.split("-")
    for key in swept:
        part = parts.get(key.split(".")[0].split("@")[0], "").split("-")
        at = next((i for i in range(len(pieces)) if pieces[i : i + len(part)] == part), len(pieces))
        pieces[at : at + len(part)] = [re.sub(r"[^\w.+]", "_", key)]
    return "-".join(pieces)
