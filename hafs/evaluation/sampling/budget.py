"""What a sampling may cost, in US dollars and in tokens."""

from collections.abc import Iterable

from hafs.core.errors import ConfigError
from hafs.evaluation.sampling.journal import SampledAnswer


class Budget:
    """Counts what was spent.

    A request starts only if the budget covers all requests in flight at the cost of the most expensive answer so far.

    Args:
        dollars: Most US dollars; None: no limit.
        tokens: Most tokens of prompts and answers; None: no limit.
        spent: Answers of earlier runs of the same command.
    """

    def __init__(self, dollars: float | None, tokens: int | None, spent: Iterable[SampledAnswer]) -> None:
        self.most_dollars, self.most_tokens = dollars, tokens
        self.dollars, self.tokens = 0.0, 0
        self._dearest = (0.0, 0)
        self._counted = 0
        for answer in spent:
            self.count(answer)

    def count(self, answer: SampledAnswer) -> None:
        """Add an answer.

        Raises:
            ConfigError: There is a limit in dollars, and the provider does not say what an answer costs.
        """
        if self.most_dollars is not None and answer.cost is None:
            raise ConfigError(
                f"budget={self.most_dollars:g} cannot be kept: {answer.provider!r} does not say what an answer costs",
                hint="give its price, or use budget=null budget_tokens=N",
            )
        self.dollars, self.tokens = self.dollars + (answer.cost or 0.0), self.tokens + answer.tokens
        self._dearest = max(self._dearest[0], answer.cost or 0.0), max(self._dearest[1], answer.tokens)
        self._counted += 1

    def allows(self, on_their_way: int) -> bool:
        """Whether one more request may start beside those in flight."""
        if not self._counted and (self.most_dollars is not None or self.most_tokens is not None):
            return on_their_way == 0  # the first answer says what one costs
        dollars, tokens = (each * (on_their_way + 1) for each in self._dearest)
        return (self.most_dollars is None or self.dollars + dollars <= self.most_dollars) and (
            self.most_tokens is None or self.tokens + tokens <= self.most_tokens
        )
