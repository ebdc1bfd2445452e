"""The fidelity report as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.ops.fidelity import Interval
from understudy.roles.simulator.assess import Fidelity


def describe(found: Fidelity, *, inside: float = 1.5) -> str:
    """The report as lines for people.

    Args:
        found: the report.
        inside: a distance up to so many times its noise floor counts as within noise.
    """
    return "\n".join(_lines(found, inside)) + "\n"


def _lines(found: Fidelity, inside: float) -> Iterator[str]:
    yield f"people: {found.people[0]} real, {found.people[1]} synthetic"
    yield f"decisions per person: {found.lengths[0]:.1f} real, {found.lengths[1]:.1f} synthetic"
    broken = {rule: share for rule, (_, share) in found.rules.items() if share < 1}
    yield f"rules of the study: {len(found.rules)}, of which {len(broken)} broken"
    for rule, share in broken.items():
        yield f"  {100 * (1 - share):.2f} % of rows: not so that {rule}"
    yield f"category coverage {found.coverage:.3f} (ratio of counts, CAT: {found.cat:.3f})"
    yield ""
    yield from _table(
        ("variable", "ks", "floor", "ratio", "w1", "[95 %]", "js", "p differs", "p equivalent"),
        [
            (
                name,
                f"{v.compared.distances['ks'].value:.3f}",
                f"{v.compared.distances['ks'].floor:.3f}",
                f"{v.compared.distances['ks'].ratio:.2f}",
                f"{v.compared.distances['w1'].value:.3f}",
                f"[{v.compared.distances['w1'].low:.3f}, {v.compared.distances['w1'].high:.3f}]",
                f"{v.compared.distances['js'].value:.3f}",
                f"{v.p_differs:.3f}",
                f"{v.p_equivalent:.3f}",
            )
            for name, v in found.variables.items()
        ],
    )
    ratios = [v.compared.distances["ks"].ratio for v in found.variables.values()]
    within = [sum(r <= bound for r in ratios) for bound in (1.0, inside)]
    yield (
        f"within the noise floor: {within[0]} of {len(ratios)}; "
        f"within {inside:g} times the noise floor: {within[1]} of {len(ratios)}"
    )
    yield ""
    yield from _table(
        ("measure", "statistic", "real", "[95 %]", "synthetic", ""),
        [
            (
                s.measure,
                s.statistic,
                f"{s.real.value:.3f}",
                _range(s.real),
                f"{s.synthetic.value:.3f}",
                "" if s.inside else "outside",
            )
            for s in found.statistics
            if s.statistic in ("mean", "between_sd", "within_sd", "carry")
        ],
    )
    yield ""
    yield from _table(
        ("effect on", "of", "real", "[95 %]", "synthetic", "[95 %]", "p differs", ""),
        [
            (
                e.measure,
                e.action,
                f"{e.real.value:.3f}",
                _range(e.real),
                f"{e.synthetic.value:.3f}",
                _range(e.synthetic),
                f"{p:.3f}",
                "" if e.inside else "outside",
            )
            for e, p in zip(found.effects, found.effect_p, strict=True)
        ],
    )
    yield ""
    told = found.discriminator.auc
    yield f"discriminator: AUC {told.value:.3f} {_range(told)} (0.5: cannot tell; 1: always)"
    gap, responses = found.correlations, found.responses
    yield f"responses differ by {responses[0]:.3f} sd (noise floor {responses[1]:.3f})"
    yield f"correlations differ by {gap['mean']:.3f} on average (noise floor {gap['floor']:.3f})"
    stay = found.staying
    yield f"survival curves differ by {stay.value:.3f} at most (noise floor {stay.floor:.3f})"
    for name, value in found.leaks.items():
        yield f"{name}: {value:.3f}"


def _range(interval: Interval) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()
