"""Which of transformers' automatic classes reads a model: text models, and the text part of image-and-text models."""

from typing import Any

from hafs.core.errors import ConfigError


def auto_class(config: Any) -> Any:
    """The class whose `from_pretrained` and `from_config` build a model with a language model's head.

    Args:
        config: As transformers reads it.

    Raises:
        ConfigError: No such class knows this type of model.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    for known in (AutoModelForCausalLM, AutoModelForImageTextToText):
        if type(config) in known._model_mapping:
            return known
    raise ConfigError(
        f"transformers has no language model for a config of type {config.model_type!r}",
        hint="choose a model that generates text; docs/reference/conformance.md lists the types",
    )
