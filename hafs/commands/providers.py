"""Show the state of each provider: API key, reachable or not, remaining quota, models.

    hafs providers                                   all providers, including yours in ./conf/provider/
    hafs providers provider=openrouter,ollama
    hafs providers provider=openai_compatible provider.openai_compatible.host.base_url=http://127.0.0.1:1234/v1

Uses no tokens. Exit codes: 0 at least one provider can answer, 69 none can.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hafs.config import build, command
from hafs.config.tree import options

if TYPE_CHECKING:
    from hafs.providers.provider import Health, Provider


def providers(config: DictConfig) -> None:
    """Check all providers concurrently, and print the results.

    Raises:
        AllProvidersDown: No provider can answer.
    """
    from rich.console import Console

    from hafs.core.errors import AllProvidersDown

    chosen: list[Provider] = [build(node) for node in config.providers.values()]
    with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
        found = list(pool.map(lambda provider: provider.health(), chosen))
    adapters = [str(expert.adapter) for expert in config.experts.values() if expert.adapter]
    Console().print(_table(chosen, found, adapters))
    if not any(health.reachable for health in found):
        raise AllProvidersDown("no provider can answer", hint="set an API key, or start a server")


def _table(chosen: "list[Provider]", found: "list[Health]", adapters: list[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from hafs.providers.failover import ledger_at
    from hafs.providers.quota import ledger_path
    from hafs.providers.quota_status import standing

    table = Table("provider", "key", "reachable", "quota left", "models (fast, coding, reasoning, cheap, fallback)")
    ledger = ledger_at(ledger_path())
    for provider, health in zip(chosen, found, strict=True):
        reachable = {True: "yes", False: f"no: {health.said}", None: "not tried"}[health.reachable]
        quota = "; ".join(part for part in (health.quota, *standing(provider, ledger)) if part)
        models = _models(provider, health) + _adapters(provider, health, adapters)
        table.add_row(*(Text(cell) for cell in (provider.name, health.key, reachable, quota or "no limit set", models)))
    return table


def _models(provider: "Provider", health: "Health") -> str:
    names = ", ".join(dict.fromkeys(provider.models.values()))
    if not health.models:
        return names
    missing = [name for name in dict.fromkeys(provider.models.values()) if not _offered(name, health.models)]
    return f"{names} ({len(health.models)} offered" + (f", not among them: {', '.join(missing)})" if missing else ")")


def _adapters(provider: "Provider", health: "Health", adapters: list[str]) -> str:
    """The experts' adapters that a remote host should serve and does not list."""
    if provider.host.local or not provider.host.carries_adapters or not health.models:
        return ""
    from hafs.providers.served_adapters import served_as

    missing = [adapter for adapter in adapters if served_as(adapter, health.models) is None]
    return f"; adapters not served: {', '.join(missing)} (the base answers instead)" if missing else ""


def _offered(name: str, models: tuple[str, ...]) -> bool:
    return any(name == model or model in (f"{name}:latest", f"models/{name}") for model in models)


_enter = command("providers", providers, description=__doc__ or "")


def main() -> None:
    """Check all providers, and the adapters of all experts, unless some are chosen."""
    arguments = sys.argv[1:]
    for group in ("provider", "expert"):
        if not any(word.lstrip("+").startswith(f"{group}=") for word in arguments):
            sys.argv.append(f"{group}=[{','.join(options(group))}]")
    _enter()


if __name__ == "__main__":
    main()
