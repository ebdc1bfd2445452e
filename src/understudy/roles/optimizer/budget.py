"""What a search may spend, and what it has spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from understudy.run.fields import NonNegativeFloat, NonNegativeInt, PositiveInt

EXACT = ("episodes", "evaluations", "calls")
"""What is known before it is spent, and therefore never passed."""


@dataclass(frozen=True)
class BudgetConfig:
    """Limits of a search. 0 is no limit, but for episodes.

    The search ends with its episodes or evaluations. Where calls, tokens or money run out, no
    language model is asked any more; a proposer that has others goes on with them.
    """

    episodes: PositiveInt = 4000
    """Episodes in all: scaling, trials and the choice of the winner; not the held-out ones."""
    evaluations: NonNegativeInt = 0
    """Trials."""
    calls: NonNegativeInt = 0
    """Answers of a language model; never passed."""
    tokens: NonNegativeInt = 0
    """Tokens to and from a language model; no question is asked once they are spent."""
    usd: NonNegativeFloat = 0.0
    """US dollars for a language model; no question is asked that could pass them."""


@dataclass
class Budget:
    """The account of a search."""

    limits: BudgetConfig
    episodes: int = 0
    evaluations: int = 0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def left(self, name: str) -> float:
        """How much of one thing is left; infinity where it has no limit."""
        limit = getattr(self.limits, name)
        return max(0, limit - getattr(self, name)) if limit else float("inf")

    def spend(self, **amounts: float) -> None:
        """Notes what was spent.

        Raises:
            ValueError: more episodes, evaluations or calls than were left, or a negative amount.
        """
        for name, amount in amounts.items():
            if amount < 0 or (name in EXACT and amount > self.left(name)):
                raise ValueError(f"{amount} {name} cannot be spent: {self.left(name)} are left")
            setattr(self, name, getattr(self, name) + amount)

    def spent(self) -> dict[str, float]:
        """What was spent, by name."""
        return {name: getattr(self, name) for name in _NAMES}

    def load(self, spent: Mapping[str, float]) -> None:
        """Goes back to what `spent` gave."""
        for name in _NAMES:
            setattr(self, name, spent[name])


_NAMES = tuple(field.name for field in fields(BudgetConfig))
