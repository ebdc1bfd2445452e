"""Whether synthetic people repeat real ones: copied stretches, nearest real people, canaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.ops.cohort import Bools, Cohort, Floats, Ints
from understudy.ops.distances import halves


def stretches(cohort: Cohort, columns: Sequence[str], length: int) -> tuple[Ints, Ints]:
    """Every stretch of `length` rows of one person, as (whose, what); equal stretches, equal numbers.

    Numbers are hashes of the values (columns [R], NaN equal to NaN), the same in every cohort.
    """
    row = np.zeros(cohort.rows, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name in columns:
            value = np.round(np.nan_to_num(cohort[name], nan=-987.0), 6) + 0.0  # no negative zero
            row = _mix(row ^ _mix(value.view(np.uint64)))
        size = max(cohort.rows - length + 1, 0)
        what = np.zeros(size, dtype=np.uint64)
        for back in range(length):
            what = _mix(what ^ row[back : back + size])
    person = cohort.person
    whole = person[:size] == person[length - 1 :] if size else np.zeros(0, dtype=np.bool_)
    return person[:size][whole], what[whole].view(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """A permutation of 64-bit integers that spreads them (splitmix64's)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def copied(
    real: Cohort,
    synthetic: Cohort,
    columns: Sequence[str],
    length: int,
    rng: np.random.Generator,
    n: int = 50,
) -> tuple[float, float]:
    """The share of stretches that stand in the real cohort, and what is to be expected of it.

    Args:
        real: the reference.
        synthetic: what may be copied from it.
        columns: what must be equal.
        length: of a stretch, in rows.
        rng: of the splits.
        n: how many splits.

    Returns:
        The synthetic cohort's share, and the mean share of stretches of one half of the real
        people that stand in the other half: twice as many others would find more, so a synthetic
        share somewhat above it is no sign of copying; one near 1 is.
    """
    (_, what), (whose, real_what) = (stretches(c, columns, length) for c in (synthetic, real))
    share = float(np.isin(what, real_what).mean()) if len(what) else 0.0
    found: list[float] = []
    for half in halves(len(real), n, rng):
        inside: Bools = half[whose]
        if inside.any():
            found.append(float(np.isin(real_what[inside], real_what[~inside]).mean()))
    return share, float(np.mean(found)) if found else 0.0


def nearest(real: Floats, synthetic: Floats) -> tuple[Floats, Floats]:
    """Distances to the nearest real person, in standardised features.

    Args:
        real: [P, F], two people at least.
        synthetic: [Q, F]

    Returns:
        [Q] from each synthetic person, and [P] from each real person to the nearest other one. A
        synthetic cohort that hides nobody is, in the median, not nearer than real people are.
    """
    mean, sd = real.mean(axis=0), real.std(axis=0)
    a, b = ((x - mean) / np.where(sd > 0, sd, 1.0) for x in (real, synthetic))
    to_real = np.sqrt(((b[:, None] - a[None]) ** 2).sum(axis=2)).min(axis=1)
    among = np.sqrt(((a[:, None] - a[None]) ** 2).sum(axis=2))
    np.fill_diagonal(among, np.inf)
    return to_real, among.min(axis=1)


def exposure(planted: Floats, others: Floats) -> Floats:
    """How far canaries stand out from equals that were never planted, in bits (arXiv 1802.08232).

    Args:
        planted: [N] how much of each canary was found.
        others: [M] the same of canaries from the same distribution that nobody was ever told of.

    Returns:
        [N] log2 of M + 1 over the canary's rank among the others; ties count against it. 0 where
        nothing was found, log2(M + 1) where more was found of it than of any other, and without a
        leak more than b bits with a probability of 2^-b at most.
    """
    rank = 1 + (others[None] >= planted[:, None]).sum(axis=1)
    return np.log2((len(others) + 1) / rank)
