"""What hosts have in common whose models this process loads: one base, and an adapter that each request names."""

from dataclasses import dataclass

from hafs.providers.provider import Health, Host


@dataclass(frozen=True, kw_only=True)
class InProcessHost(Host):
    """A host on this machine, with the models of `conf/model/`."""

    @property
    def local(self) -> bool:
        """Always true."""
        return True

    @property
    def in_process(self) -> bool:
        """Its bases are loaded by this process."""
        return True

    @property
    def carries_adapters(self) -> bool:
        """Always: each request names its own."""
        return True

    def health(self) -> Health:
        """Whether its packages are installed, and the models that it can load."""
        from hafs.config.tree import options

        if package := self.missing_package():
            return Health(key="not needed", reachable=False, said=f"{package} is not installed")
        return Health(key="not needed", reachable=True, models=tuple(options("model")))
