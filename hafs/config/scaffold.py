"""Files of a user's own, written from commented templates: `hafs new expert bread`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hafs.config.check import did_you_mean
from hafs.config.shipped import conf_folder
from hafs.core import durable
from hafs.core.errors import ConfigError

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What `hafs new` writes for a kind of file."""

    files: dict[str, str]
    """By template: the path to write, with NAME."""
    next: str
    """The command that uses it, after `hafs`, with NAME."""

    def next_words(self, name: str, facts: Mapping[str, Any]) -> list[str]:
        """The command that uses an option of this kind; an expert is asked its first example."""
        asked = [str(question) for question in facts.get("examples", ())][:1] or ["..."]
        return [word.replace("NAME", name).replace("QUESTION", asked[0]) for word in self.next.split()]


def _option(group: str, then: str) -> Kind:
    return Kind(files={f"{group}.yaml": f"conf/{group}/NAME.yaml"}, next=then)


KINDS = {
    "expert": _option("expert", "ask QUESTION expert=NAME,general"),
    "dataset": _option("dataset", "validate dataset=NAME"),
    "model": _option("model", "plan model=NAME"),
    "provider": _option("provider", "providers provider=NAME"),
    "stage": _option("stage", "train stage=NAME"),
    "metric": Kind(
        files={"metric.yaml": "conf/metrics/NAME.yaml", "metric.py.txt": "NAME.py"},
        next="evaluate metrics=NAME",
    ),
}
"""By the first word after `hafs new`."""


def write(kind: str, name: str, facts: Mapping[str, Any] = MappingProxyType({})) -> list[Path]:
    """Write the files of one kind into the current folder.

    Args:
        kind: A key of `KINDS`.
        name: The option's name.
        facts: Values of keys that the template leaves to the user.

    Raises:
        ConfigError: The kind is unknown, the name is not valid or taken, or a file exists.
    """
    if kind not in KINDS:
        raise ConfigError(f"hafs new has no kind {kind!r}", hint=did_you_mean(kind, KINDS))
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")
        raise ConfigError(f"{name!r}: a name is made of a-z, 0-9, _ and -", hint=f"hafs new {kind} {near or 'bread'}")
    if kind == "metric" and not name.isidentifier():
        fact = f"{name!r} becomes a Python module: write it with _"
        raise ConfigError(fact, hint=f"hafs new metric {name.replace('-', '_')}")
    paths = {template: Path(path.replace("NAME", name)) for template, path in KINDS[kind].files.items()}
    for path in paths.values():
        if path.exists():
            raise ConfigError(f"{path} exists, and is not replaced", hint="edit it, or choose another name")
        if (conf_folder() / path.relative_to("conf") if path.parts[0] == "conf" else Path()).is_file():
            raise ConfigError(f"{path.parent.name}={name} is an option of hafs already", hint="choose another name")
    for template, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (_TEMPLATES / template).read_text(encoding="utf-8")
        text = _filled(text, facts) if path.suffix == ".yaml" else text
        durable.write_text(path, text.replace("CLASS", _class(name)).replace("NAME", name))
    return list(paths.values())


def _filled(text: str, facts: Mapping[str, Any]) -> str:
    """The template with values in place of its own; comments after them stay."""
    for key, value in facts.items():
        if not value:
            continue
        if isinstance(value, list | tuple):
            items = "".join(f"  - {json.dumps(str(item), ensure_ascii=False)}\n" for item in value)
            text = re.sub(
                rf"^({key}:.*\n)(?:  - .*\n)+", lambda found, items=items: found[1] + items, text, flags=re.MULTILINE
            )
        else:
            quoted = json.dumps(str(value), ensure_ascii=False)
            text = re.sub(
                rf"^{key}: .*?(?=  #|$)", lambda _, key=key, quoted=quoted: f"{key}: {quoted}", text, flags=re.MULTILINE
            )
    return text


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[_-]+", name))
