"""What a judgement of policies says: as records, as JSON, as a table of text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """One estimator's answer."""

    value: float
    low: float
    """Of the percentile-t bootstrap interval over people."""
    high: float
    error: float
    """Standard error, clustered by person."""
    effective: float
    """Effective people."""
    usable: bool
    """Whether they are enough."""


@dataclass(frozen=True)
class NetworkValue:
    """The answer of FQE with networks."""

    value: float
    low: float
    """Of the percentile bootstrap interval over people."""
    high: float
    drift: float
    """How far the value still moved at the end, as a share of the possible range."""
    residual: float
    """Root mean square Bellman residual, as a share of that range."""


@dataclass(frozen=True)
class Judgement:
    """What is known of one policy."""

    name: str
    values: dict[str, Value]
    network: NetworkValue | None
    unsupported: float
    """Share of its choices that the behaviour hardly ever makes."""
    supported: bool
    """Whether these people can tell what it is worth."""
    reasons: tuple[str, ...]
    """Why not."""


@dataclass(frozen=True)
class Comparison:
    """A paired test of two policies on the same people."""

    first: str
    second: str
    difference: float
    """Of values, first − second."""
    error: float
    p: float
    p_holm: float
    """Adjusted for all comparisons of the verdict."""
    resolvable: float
    """The least true difference that these people would have shown with 80 % power."""


@dataclass(frozen=True)
class Verdict:
    """Everything found."""

    people: int
    decisions: int
    gamma: float
    confidence: float
    primary: str
    """The estimator that policies are compared by."""
    policies: tuple[Judgement, ...]
    """In the order asked."""
    comparisons: tuple[Comparison, ...]
    """Of all pairs that are supported."""

    @property
    def better(self) -> tuple[tuple[str, str], ...]:
        """Pairs (winner, loser) whose difference stands after Holm's correction."""
        alpha = 1 - self.confidence
        return tuple(
            (c.first, c.second) if c.difference > 0 else (c.second, c.first)
            for c in self.comparisons
            if c.p_holm <= alpha
        )

    @property
    def ranked(self) -> tuple[str, ...]:
        """Supported policies by estimate, best first: an order, not yet a finding."""
        sound = [j for j in self.policies if j.supported]
        return tuple(j.name for j in sorted(sound, key=lambda j: -j.values[self.primary].value))

    @property
    def unbeaten(self) -> tuple[str, ...]:
        """Supported policies that no other is shown to be better than."""
        losers = {loser for _, loser in self.better}
        return tuple(name for name in self.ranked if name not in losers)

    @property
    def best(self) -> str | None:
        """The policy shown to be better than every other supported one; None: cannot tell."""
        if len(self.ranked) < 2:
            return None
        first = self.ranked[0]
        beaten = {loser for winner, loser in self.better if winner == first}
        return first if len(beaten) == len(self.ranked) - 1 else None

    @property
    def summary(self) -> str:
        """The answer in a sentence or two."""
        refused = [j.name for j in self.policies if not j.supported]
        without = f" Of {', '.join(refused)} these people cannot tell." if refused else ""
        if len(self.ranked) < 2:
            return f"Cannot tell: fewer than two policies can be judged.{without}"
        if self.best is not None:
            return f"{self.best} is best.{without}"
        least = min(c.resolvable for c in self.comparisons)
        return (
            f"Cannot tell which is best: {', '.join(self.unbeaten)} are not told apart. "
            f"{self.people} people could have resolved differences of {least:.3g} or more "
            f"(80 % power).{without}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {
            **plain,
            "better": [list(pair) for pair in self.better],
            "ranked": list(self.ranked),
            "unbeaten": list(self.unbeaten),
            "best": self.best,
            "summary": self.summary,
        }

    def table(self) -> str:
        """Lines of text: a row per policy, its estimates and intervals, then what follows."""
        width = max(6, *(len(j.name) for j in self.policies))
        names = list(self.policies[0].values)
        lines = [f"{'policy':{width}}  " + "  ".join(f"{n:>22}" for n in names) + "  judged"]
        for j in self.policies:
            cells = "  ".join(f"{_cell(j.values[n]):>22}" for n in names)
            lines.append(f"{j.name:{width}}  {cells}  {'yes' if j.supported else 'cannot tell'}")
            if j.network is not None:
                n = j.network
                lines.append(
                    f"{'':{width}}  networks {n.value:.3g} [{n.low:.3g}, {n.high:.3g}], "
                    f"moving {n.drift:.1%}, residual {n.residual:.1%} of the range"
                )
            lines += [f"{'':{width}}  because {reason}" for reason in j.reasons]
        lines.append("* too few effective people for this estimator")
        for c in sorted(self.comparisons, key=lambda c: c.p_holm):
            lines.append(
                f"{c.first} − {c.second}: {c.difference:+.3g} (p {c.p_holm:.2g} after Holm; "
                f"{c.resolvable:.3g} could have been resolved)"
            )
        return "\n".join([*lines, self.summary])


def _cell(value: Value) -> str:
    mark = "" if value.usable else "*"
    return f"{value.value:.3g} [{value.low:.3g}, {value.high:.3g}]{mark}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
