"""Adapters of one base model by their folders: loaded on first use, with checks that PEFT does not make."""

import warnings
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hafs.core.errors import RunError
from hafs.modeling.adapter.folder import TENSORS, read_config, read_tensors, same_base
from hafs.modeling.adapter.lora_forward import use_lora_forward


class AdapterCache:
    """The adapters that a base model holds. Not thread-safe.

    Args:
        base: A loaded base; the adapters' layers are put into it, and it stays the same object.
        keep: Adapters kept in memory; the least recently used one is removed first.
    """

    def __init__(self, base: Any, *, keep: int = 16) -> None:
        self.base, self.keep = base, keep
        self._net: Any = None
        self._names: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._count = 0

    def name_of(self, folder: Path, in_use: Collection[str | None] = ()) -> str:
        """The name under which the base holds a folder's adapter, which is loaded if it is missing.

        Args:
            folder: In PEFT's format.
            in_use: Names that must stay.

        Raises:
            RunError: The folder holds no adapter, a damaged one, or one that was made for another base.
        """
        config = read_config(folder)
        file = folder / TENSORS
        facts = file.stat()
        key = (str(folder.resolve()), facts.st_mtime_ns, facts.st_size)
        if key not in self._names:
            self._make_room(in_use)
            self._names[key] = self._load(folder, config)
        self._names.move_to_end(key)
        return self._names[key]

    def _make_room(self, in_use: Collection[str | None]) -> None:
        for key, name in list(self._names.items()):
            if len(self._names) < self.keep:
                return
            if name not in in_use:
                self._take_off(name)
                del self._names[key]

    def _load(self, folder: Path, config: dict[str, Any]) -> str:
        from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

        same_base(folder, config, str(self.base.config._name_or_path or ""))
        for field in ("modules_to_save", "target_parameters", "trainable_token_indices"):
            if config.get(field):
                raise _not_per_request(folder, field)
        if config.get("bias", "none") != "none":
            raise _not_per_request(folder, "bias")
        tensors = read_tensors(folder)
        name, self._count = f"adapter{self._count}", self._count + 1
        try:
            self._put_on(name, LoraConfig.from_pretrained(str(folder), local_files_only=True))
            expected = get_peft_model_state_dict(self._net, adapter_name=name)
            problem = _difference(tensors, expected)
        except (ValueError, TypeError, KeyError) as error:
            problem = str(error).splitlines()[0]
        if problem:
            self._take_off(name)
            raise RunError(
                f"{folder} was trained on another base model: {problem}",
                hint="use the model it was trained on; run.json or summary.json beside it names the model",
            )
        set_peft_model_state_dict(self._net, tensors, adapter_name=name)
        self._settle(name)
        return name

    def _put_on(self, name: str, config: Any) -> None:
        from peft import get_peft_model

        config.inference_mode = True
        if self._net is None:
            self._net = get_peft_model(self.base, config, adapter_name=name)
        else:
            self._net.add_adapter(name, config)

    def _take_off(self, name: str) -> None:
        if self._net is not None and name in self._net.peft_config:
            with warnings.catch_warnings():  # about the active adapter, which is not used here
                warnings.simplefilter("ignore")
                self._net.delete_adapter(name)

    def _settle(self, name: str) -> None:
        """Convert the adapter's matrices to the base's precision, so that no pass does, and set them for inference."""
        use_lora_forward(self._net)
        dtype = self.base.dtype
        for path, module in self._net.named_modules():
            if ".lora_" in path or path.endswith(".lora_A") or path.endswith(".lora_B"):
                module.training = False
        for path, parameter in self._net.named_parameters():
            if ".lora_" in path and f".{name}." in f"{path}.":
                parameter.data = parameter.data.to(dtype)
                parameter.requires_grad_(False)


def _not_per_request(folder: Path, field: str) -> RunError:
    return RunError(
        f"{folder} was trained with adapter.{field}, which cannot be selected for a single request",
        hint=f"train without adapter.{field}, or merge the adapter into its base model (hafs export format=merged)",
    )


def _difference(got: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """Where two sets of tensors differ first; None: nowhere."""
    for key in sorted({*got, *expected}):
        if key not in expected:
            return f"tensor {key} does not exist in this base model"
        if key not in got:
            return f"tensor {key} is missing"
        if got[key].shape != expected[key].shape:
            return f"tensor {key} has shape {list(got[key].shape)}, the base model needs {list(expected[key].shape)}"
    return None
