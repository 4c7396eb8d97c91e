"""Register a finished run, or a mixture of registered models, as a candidate.

    hafs register name=hyrule-asm-v1                          only if the gate passed it (hafs evaluate)
    hafs register name=my-run under=hyrule-asm-v2             under another name than the run's
    hafs register name=hyrule-asm-v1 force=true               whatever the gate said; the record says so
    hafs register mixture=triforce-moe of=[hyrule-asm,yaze-sage] router=cascade
                                                              hafs ask mixture=triforce-moe asks them together

The adapter is copied beside the registry with its config, its figures and a model card, and answers only once it is
promoted. Exit codes: 0 registered, 4 the gate refused it, 2 yours to mend.
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
    """Register, and say what comes next.

    Raises:
        GateRefused: The gate refused the run.
        HafsError: There is no such run, or its name is taken.
    """
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
        raise ConfigError("of= lists the models of a mixture, which has no name", hint="mixture=triforce-moe")
    else:
        entry = register_run(
            registry, finished_run(config.name), under=config.under, specialization=config.specialization,
            parents=list(config.parents), force=config.force,
        )  # fmt: skip
        forced = ", forced past the gate" if entry.gate.forced else ""
        print(f"registered {entry.name} ({entry.status}{forced}) in {registry.path}")
        print(f"model card {registry.verified(entry) / 'README.md'}")
        if not (registry.verified(entry) / HELD_OUT).read_bytes():
            print("note: its data is gone or has changed, so no held-out prompts are kept and no export can be checked")
    if entry.status != "production":
        print(f"-> hafs promote {entry.name} lets it answer")


main = command("register", register, words=__doc__ or "", settings=Settings, unused=("router",))

if __name__ == "__main__":
    main()
