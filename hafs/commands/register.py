"""Register a finished run, or a mixture of registered models, as a candidate.

    hafs register name=hyrule-asm-v1                          requires that the gate passed (hafs evaluate)
    hafs register name=my-run under=hyrule-asm-v2             under a name other than the run's
    hafs register name=hyrule-asm-v1 force=true               even if the gate did not pass; the record says so
    hafs register mixture=triforce-moe of=[hyrule-asm,yaze-sage] router=cascade
                                                              for hafs ask mixture=triforce-moe

The adapter is copied to the registry with its config, its metrics and a model card. It answers only after
`hafs promote`. Exit codes: 0 registered, 4 the gate did not pass, 2 user error.
"""

from typing import TypedDict

from omegaconf import DictConfig

from hafs.config import build, command


class Settings(TypedDict):
    """The command's own keys in `conf/register.yaml`."""

    name: str | None
    under: str | None
    specialization: str | None
    parents: list[str]
    force: bool
    mixture: str | None
    of: list[str]


def register(config: DictConfig) -> None:
    """Register, and print the next command.

    Raises:
        GateRefused: The gate refused the run.
        HafsError: There is no such run, or the name is already registered.
    """
    from hafs.config.next_command import say_next
    from hafs.core.errors import ConfigError
    from hafs.registry.registration import HELD_OUT, finished_run, register_mixture, register_run

    registry = build(config.registry)
    if config.mixture:
        entry = register_mixture(
            registry, name=config.mixture, experts=list(config.of), router=config.router.name,
            specialization=config.specialization,
        )  # fmt: skip
        print(f"registered {entry.name} ({entry.status}) in {registry.path}: {entry.described}")
    elif config.of:
        raise ConfigError("of= lists the models of a mixture, but the mixture has no name", hint="mixture=triforce-moe")
    else:
        entry = register_run(
            registry, finished_run(config.name), under=config.under, specialization=config.specialization,
            parents=list(config.parents), force=config.force,
        )  # fmt: skip
        forced = ", forced past the gate" if entry.gate.forced else ""
        print(f"registered {entry.name} ({entry.status}{forced}) in {registry.path}")
        print(f"model card {registry.verified(entry) / 'README.md'}")
        if not (registry.verified(entry) / HELD_OUT).read_bytes():
            print(
                "note: the run's data is missing or has changed: no held-out prompts kept, exports cannot be verified"
            )
    if entry.status != "production":
        say_next("promote", entry.name, why="puts it into production")


main = command("register", register, description=__doc__ or "", settings=Settings, unused=("router",))

if __name__ == "__main__":
    main()
