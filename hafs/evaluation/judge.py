"""A judge: another model says which of two answers is better.

It is asked twice per row, with the answers in both orders, because judges prefer one position (Zheng et al. 2023, arXiv
2306.05685). Two verdicts that agree count, two that contradict each other are a tie, and a row with a failed call or an
unreadable reply is missing, never a zero.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from hafs.core.errors import ConfigError
from hafs.providers.provider import TIERS, Tier

CONCURRENCY = 4
_VERDICT = re.compile(
    r"\W*(?:answer\s+)?(A|B|TIE)\b"
    r"(?=\s*$|\s*[^\w\s]|\s*\n|\s+is\s+better\b)"  # not "A better one is B"
    r"(?!\W*(?:(?:or|and)\s+)?(?:answer\s+)?(?!\1\b)(?:A|B|TIE)\b)",  # nor "A, B or TIE?", the question again
    re.IGNORECASE,
)
Ask = Callable[[Sequence[str]], Sequence[str | None]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers to one request."""

    request: str
    reference: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How answers are compared; the model that it asks is only known at run time."""

    name: str
    rows: int
    """Maximum number of rows."""
    tier: Tier
    instruction: str

    def preferences(self, pairs: Sequence[Pair], ask: Ask) -> list[float | None]:
        """For each pair 1 where the second answer is better, -1 where the first is, 0 for a tie, None: missing.

        Args:
            pairs: Equal answers count as a tie without a request.
            ask: Sends prompts and returns replies in their order; None for failed requests.
        """
        asked = [i for i, pair in enumerate(pairs) if pair.first.strip() != pair.second.strip()]
        prompts = [self.prompt(pairs[i], swapped=swapped) for i in asked for swapped in (False, True)]
        replies = [verdict(reply) for reply in ask(prompts)] if prompts else []
        found: list[float | None] = [0.0] * len(pairs)
        for place, i in enumerate(asked):
            plain, swapped = replies[2 * place : 2 * place + 2]
            found[i] = None if plain is None or swapped is None else (plain - swapped) / 2
        return [None if value is None else float(int(value)) for value in found]

    def prompt(self, pair: Pair, *, swapped: bool) -> str:
        """What the judge is asked about one pair; untrusted text is inside tags that it cannot close."""
        a, b = (pair.second, pair.first) if swapped else (pair.first, pair.second)
        parts = {"request": pair.request, "reference": pair.reference, "answer_a": a, "answer_b": b}
        return "\n\n".join(
            [self.instruction, *(f"<{tag}>\n{_inside(text)}\n</{tag}>" for tag, text in parts.items()), "A, B or TIE?"]
        )


def _inside(text: str) -> str:
    return re.sub(r"<(/?)(request|reference|answer_[ab])>", r"(\1\2)", text)


def verdict(reply: str | None) -> int | None:
    """1 for B, -1 for A, 0 for a tie; None for anything else, such as all three."""
    match = _VERDICT.match(reply or "")
    return {"A": -1, "B": 1, "TIE": 0}[match[1].upper()] if match else None


def asking(judge: Judge, providers: Sequence[Any], policy: Any) -> Ask:
    """The function that sends the judge's prompts.

    Args:
        judge: Its tier selects the providers' model.
        providers: In the order in which they are tried.
        policy: Timeouts and retries.

    Raises:
        ConfigError: There is no provider, or none has its API key.
    """
    from hafs.providers.failover import failover

    if not providers:
        raise ConfigError("a judge needs a provider", hint="judge=pairwise provider=local, or provider=openrouter")
    model = failover(providers, judge.tier, policy=policy, temperature=0.0, max_tokens=16)

    def ask(prompts: Sequence[str]) -> Sequence[str | None]:
        replies = model.batch(list(prompts), config={"max_concurrency": CONCURRENCY}, return_exceptions=True)
        return [None if isinstance(reply, BaseException) else str(reply.text) for reply in replies]

    return ask


def pairwise(*, name: str, rows: Annotated[int, Field(gt=0)], tier: str, instruction: str) -> Judge:
    """A judge of pairs.

    Raises:
        ConfigError: There is no such tier.
    """
    if tier not in TIERS:
        raise ConfigError(f"judge.tier is {tier!r}", hint=f"one of: {', '.join(TIERS)}")
    return Judge(name=name, rows=rows, tier=tier, instruction=instruction)  # type: ignore[arg-type]


def no_judge(*, name: str, rows: None, tier: None, instruction: None) -> None:
    """No judge."""
