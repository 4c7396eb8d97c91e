"""Any chat model of LangChain as a host: Azure, Bedrock, Vertex, Mistral, ... through their own packages."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hafs.core.errors import ConfigError
from hafs.providers.provider import Health, Host

QUIET: Mapping[str, Any] = {"max_retries": 0, "stream_usage": True}
"""Arguments for classes that have such a field: hafs owns the retries, and counts the tokens of streams."""
ONE_LOOP = "http_async_client"
"""The field of clients that share connections between event loops, which breaks when a loop is closed."""


@dataclass(frozen=True, kw_only=True)
class LangChainHost(Host):
    """A chat model class, and the arguments that all its models share."""

    model: Mapping[str, Any]
    """`_target_` and arguments; the model is built when it is first asked."""
    model_argument: str
    """The argument that gets the model's name: `model`, or `azure_deployment`."""
    api_key_env: str | None
    """The variable from which the class reads its key; None: it needs none, or finds it elsewhere."""

    def __post_init__(self) -> None:
        if "_target_" not in self.model:
            raise ConfigError("host.model has no _target_", hint="model: {_target_: langchain_openai.AzureChatOpenAI}")

    @property
    def account(self) -> str:
        """The class, its address, and the name of the key's variable."""
        where = next((str(self.model[key]) for key in ("azure_endpoint", "base_url") if self.model.get(key)), "")
        return f"{self.model['_target_']}/{where}/{self.api_key_env or 'open'}"

    @property
    def packages(self) -> tuple[str, ...]:
        """The package of the class."""
        return (str(self.model["_target_"]).partition(".")[0],)

    def missing_key(self) -> str | None:
        """The key's variable if it is not set."""
        return self.api_key_env if self.api_key_env and not os.environ.get(self.api_key_env) else None

    def chat(self, model: str, *, context: int, adapter: str | None, **params: Any) -> Any:
        """An instance of the class, without retries.

        Raises:
            ConfigError: The class rejects its arguments, or is not a chat model.
        """
        from langchain_core.language_models import BaseChatModel

        from hafs.providers.langchain_chat import LangChainChat

        given = self._arguments() | params | {self.model_argument: model}
        try:
            inner = _class_of(self.model["_target_"])(**given)
        except Exception as error:
            raise ConfigError(f"{self.model['_target_']}: {str(error).splitlines()[0]}") from error
        if not isinstance(inner, BaseChatModel):
            raise ConfigError(f"{self.model['_target_']} is not a LangChain chat model")
        return LangChainChat(inner=inner, model=model)

    def _arguments(self) -> dict[str, Any]:
        import httpx

        fields = getattr(_class_of(self.model["_target_"]), "model_fields", {})
        given = {name: value for name, value in QUIET.items() if name in fields}
        if ONE_LOOP in fields:
            given[ONE_LOOP] = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))
        return given | {name: value for name, value in self.model.items() if name != "_target_"}

    def load(self, models: Sequence[str]) -> None:
        """Import its package."""
        _class_of(self.model["_target_"])

    def health(self) -> Health:
        """Whether its package and its key are there; classes have no common way to ask the host."""
        if package := self.missing_package():
            return Health(key=self.api_key_env or "not needed", reachable=False, said=f"{package} is not installed")
        key = self.missing_key() or ("present" if self.api_key_env else "not needed")
        return Health(key=key, reachable=None)


def _class_of(target: str) -> Any:
    from importlib import import_module

    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


def langchain(*, model: Mapping[str, Any], model_argument: str, api_key_env: str | None) -> LangChainHost:
    """A chat model of LangChain.

    Args:
        model: `_target_` names its class; the other keys are its arguments.
        model_argument: The argument that gets the name of each tier's model.
        api_key_env: The variable of its key, so that a chain passes it over if there is none.
    """
    return LangChainHost(model=model, model_argument=model_argument, api_key_env=api_key_env)
