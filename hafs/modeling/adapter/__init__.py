"""What is trained: a PEFT adapter on the base model, or (adapter=none) the base model itself."""

import inspect
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hafs.core.errors import ConfigError, RunError

Positive = Annotated[int, Field(gt=0)]


class Adapter(ABC):
    """How a loaded base becomes trainable, and what of it is saved."""

    name: str

    @abstractmethod
    def attach(self, net: Any) -> Any:
        """The net with its trainable parameters marked and everything else frozen."""

    @abstractmethod
    def save(self, net: Any, folder: Path) -> None:
        """Write what was trained in the form that its users load."""

    @abstractmethod
    def load(self, net: Any, folder: Path) -> None:
        """Put what `save` wrote back into an attached net.

        Raises:
            RunError: The folder's tensors are not exactly the net's.
        """


@dataclass(frozen=True, kw_only=True)
class Lora(Adapter):
    """Low-rank adapters on linear layers, in any of PEFT's variants."""

    name: str
    """As it appears in run names."""
    config: Mapping[str, Any]
    """Fields of PEFT's LoraConfig."""

    def attach(self, net: Any) -> Any:
        """The net as a PeftModel with one adapter, `default`, in float32 over the frozen base.

        Raises:
            ConfigError: `target_modules` matches no layer, or PEFT refuses the adapter.
        """
        from peft import LoraConfig, get_peft_model

        from hafs.modeling.adapter.lora_forward import use_lora_forward
        from hafs.modeling.expert_weights import quantized_targets

        config = dict(self.config)
        if config.get("target_modules") == "all-linear" and not config.get("exclude_modules"):
            config["exclude_modules"] = beside_decoder(net) or None
        if config.get("target_modules") == "all-linear" and config.get("layers_to_transform") is not None:
            config["target_modules"] = linear_layers(net)  # PEFT selects layers only of modules that are named
        if quantized := quantized_targets(net, list(config.get("target_parameters") or [])):
            raise ConfigError(
                f"adapter.target_parameters names {quantized[0]!r}, which is quantized; PEFT cannot train it",
                hint="quant.experts=false, or leave the experts out",
            )
        try:
            with _without_false_warnings():
                net = get_peft_model(net, LoraConfig(task_type="CAUSAL_LM", **config))
        except ValueError as error:
            raise self._refused(net, error) from error
        use_lora_forward(net)
        return net

    def _refused(self, net: Any, error: ValueError) -> ConfigError:
        """The error of PEFT in one line, with the possible values."""
        said, targets = str(error).strip().splitlines()[0], self.config.get("target_modules")
        if "target modules" in said.lower() and "not found" in said.lower():
            fact = f"adapter.target_modules {targets!r} matches no layer of the model"
            return ConfigError(fact, hint=f"use all-linear, or a list of: {', '.join(linear_layers(net))}")
        possible = ",".join(name for name in linear_layers(net) if f"'{name}'" not in said)
        return ConfigError(
            f"PEFT cannot attach this adapter to the model: {said}",
            hint=f"use adapter.target_modules=[{possible}], or some of them",
        )

    def save(self, net: Any, folder: Path) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors`."""
        net.save_pretrained(folder, safe_serialization=True)

    def load(self, net: Any, folder: Path) -> None:
        """Replace the adapter's tensors by those of the folder."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        from hafs.modeling.adapter.validation import validated

        validated(folder)
        tensors = load_file(folder / "adapter_model.safetensors")
        _same_shapes(tensors, get_peft_model_state_dict(net), folder)
        _finite(tensors, folder)
        set_peft_model_state_dict(net, tensors)


@dataclass(frozen=True, kw_only=True)
class Full(Adapter):
    """No adapter: every weight is trained."""

    name: str

    def attach(self, net: Any) -> Any:
        """The net with every parameter trainable.

        Raises:
            ConfigError: Its weights are quantized.
        """
        if getattr(net, "is_quantized", False):
            raise ConfigError(
                "adapter=none trains every weight, and quantized weights cannot be trained", hint="quant=none"
            )
        return net.requires_grad_()

    def save(self, net: Any, folder: Path) -> None:
        """Write the whole model."""
        net.save_pretrained(folder, safe_serialization=True)

    def load(self, net: Any, folder: Path) -> None:
        """Replace the model's tensors by those of the folder, one after the other.

        Raises:
            RunError: The folder holds another model.
        """
        from safetensors import safe_open

        path, own = folder / "model.safetensors", net.state_dict()
        with safe_open(path, framework="pt") as file:
            stored = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        filled = {own[name].data_ptr() for name in stored.keys() & own.keys()}
        other = {name for name, shape in stored.items() if name not in own or list(own[name].shape) != shape}
        other |= {name for name, tensor in own.items() if tensor.data_ptr() not in filled}
        if other:
            raise RunError(f"{folder} contains another model: {', '.join(sorted(other)[:3])} differ")
        for name in stored:
            with safe_open(path, framework="pt") as file:  # opened for each: what was read stays mapped until it closes
                own[name].copy_(file.get_tensor(name))


_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "eva")
"""Initializations after which the base model without its adapter is another model, or that PEFT prepares with data."""


def lora(
    *,
    name: str,
    r: Positive,
    lora_alpha: Annotated[float, Field(gt=0)],
    lora_dropout: Annotated[float, Field(ge=0, lt=1)],
    target_modules: str | list[str],
    use_rslora: bool,
    use_dora: bool,
    **more: Any,
) -> Lora:
    """A LoRA adapter; `more` are further fields of PEFT's LoraConfig.

    Raises:
        ConfigError: `init_lora_weights` names an initialization that hafs does not support.
    """
    start = more.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(_CHANGE_THE_BASE):
        raise ConfigError(
            f"adapter.init_lora_weights={start!r} changes the weights of the base model or needs an extra data step",
            hint="leave it out, or use gaussian or orthogonal",
        )
    config = {
        "r": r,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "target_modules": target_modules,
        "use_rslora": use_rslora,
        "use_dora": use_dora,
    }
    return Lora(name=name, config=config | more)


def _unknown_fields(given: Iterable[str]) -> list[str]:
    more = set(given) - inspect.signature(lora).parameters.keys()
    if not more:
        return []
    from peft import LoraConfig

    known = {field.name for field in fields(LoraConfig)} | {"name"}
    given = [key for key in given if key in more]
    return [f"{key} is not a field of PEFT's LoraConfig" for key in given if key not in known]


lora.check = _unknown_fields  # type: ignore[attr-defined]


def full(
    *, name: str, r: None, lora_alpha: None, lora_dropout: None, target_modules: None, use_rslora: None, use_dora: None
) -> Full:
    """Full fine-tuning; the fields of a LoRA have no meaning here and are null."""
    return Full(name=name)


@contextmanager
def _without_false_warnings() -> Iterator[None]:
    """Silence two warnings of PEFT about what PEFT itself does.

    It reads a deprecated attribute of the net. And for experts in one tensor it doubles the rank of `gate_up_proj` with
    a `rank_pattern` of its own, then warns that no module has this name: it is a parameter, and its rank is doubled.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        of_peft = r"The following (rank|alpha)_pattern keys did not match .*: \['\.\*\\\\\.gate_up_proj'\]\.$"
        warnings.filterwarnings("ignore", of_peft, RuntimeWarning)
        yield


def beside_decoder(net: Any) -> list[str]:
    """Names of the linear layers outside the text decoder: the image and audio towers of a multimodal model."""
    import torch

    inside = {id(module) for part in (net.get_decoder(), net.get_output_embeddings()) for module in part.modules()}
    return [
        name for name, module in net.named_modules() if isinstance(module, torch.nn.Linear) and id(module) not in inside
    ]


def linear_layers(net: Any) -> list[str]:
    """Names that `target_modules` can hold: the last parts of the names of the net's linear layers."""
    import torch

    names = {name.rsplit(".", 1)[-1] for name, layer in net.named_modules() if isinstance(layer, torch.nn.Linear)}
    return sorted(name for name in names if not re.search(r"head$", name))


def _finite(tensors: Mapping[str, Any], where: Path) -> None:
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise RunError(f"{where} contains an adapter with NaN or infinity in {broken[0]}", hint="train it again")


def _same_shapes(got: Mapping[str, Any], expected: Mapping[str, Any], where: Path) -> None:
    wrong = sorted(
        key
        for key in {*got, *expected}
        if key not in got or key not in expected or got[key].shape != expected[key].shape
    )
    if wrong:
        raise RunError(
            f"{where} contains an adapter with other shapes: {len(wrong)} tensors differ, first {wrong[0]}",
            hint="use the base model, adapter.r and adapter.target_modules of its training",
        )
