"""The best that can be done in an environment whose dynamics are known, by dynamic programming.

`optimum` is exact: no policy, even one that counts its steps, has a greater expected return.
`best_stationary` is the best policy found that acts by the state alone, which is all that a table
of actions can do; its value is exact too (`policy_value`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.control.register import make
from understudy.envs.control.vector import Arena, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DISCOUNTS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
SWEEPS = 20_000
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Optimum:
    """Expected returns within the environment's time limit."""

    value: float
    """Of the best policy of all."""
    stationary: float
    """Of `actions`."""
    actions: Ints
    """[S] of the best policy found that acts by the state alone."""


def optimum_of(env: str, options: Mapping[str, Any] | None = None) -> Optimum:
    """The optimum of a tabular environment, or of Blackjack.

    Raises:
        EnvError: its dynamics are not known.
    """
    if env == "Blackjack-v1":
        single = make(env, options).unwrapped
        if getattr(single, "natural", False) and not getattr(single, "sab", False):
            raise EnvError("env_options: the optimum of Blackjack with natural=True is not known")
        table = blackjack(sab=bool(getattr(single, "sab", False)))
    else:
        arena = Arena(env, options)
        if arena.table is None:
            raise EnvError(f"env: {env} has no transition table, so its optimum is not known")
        table = arena.table
        arena.close()
    actions, stationary = best_stationary(table)
    return Optimum(optimum(table), stationary, actions)


def action_values(table: Table, values: Floats, discount: float = 1.0) -> Floats:
    """[S, A] expected reward plus what comes after, given the values [S] of the states."""
    after = table.rewards + discount * np.where(table.ended, 0.0, values[table.following])
    return (table.probabilities * after).sum(axis=2)


def optimum(table: Table) -> float:
    """Backward induction over the time limit."""
    values = np.zeros(len(table.start))
    for _ in range(table.limit):
        values = action_values(table, values).max(axis=1)
    return float(table.start @ values)


def policy_value(table: Table, actions: Ints) -> float:
    """Expected return of the policy that takes actions[s] in state s, within the time limit."""
    states = np.arange(len(table.start))
    kept = _only(table, actions)
    values = np.zeros(len(states))
    for _ in range(table.limit):
        values = action_values(kept, values)[:, 0]
    return float(table.start @ values)


def best_stationary(table: Table) -> tuple[Ints, float]:
    """The best of the policies that are optimal at one of `DISCOUNTS`, and its exact value.

    A time limit makes the best stationary policy one that no single discount need give; the value
    of the one returned is a lower bound on it, and `optimum` an upper bound.
    """
    found = [discounted(table, discount) for discount in DISCOUNTS]
    values = [policy_value(table, actions) for actions in found]
    best = int(np.argmax(values))
    return found[best], values[best]


def discounted(
    table: Table,
    discount: float,
    tolerance: float = TOLERANCE,
    rng: np.random.Generator | None = None,
) -> Ints:
    """Value iteration: [S] the optimal actions where every later reward counts `discount` less.

    Of equally good actions the first is taken, or with `rng` any.
    """
    scores = action_values(table, np.zeros(len(table.start)), discount)
    for _ in range(SWEEPS):
        before, scores = scores, action_values(table, scores.max(axis=1), discount)
        if np.abs(scores - before).max() <= tolerance:
            break
    # Equally good is what only rounding tells apart.
    good = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    return np.argmax(good if rng is None else good * rng.random(good.shape), axis=1)


def _only(table: Table, actions: Ints) -> Table:
    """The table with one action per state."""
    chosen = (np.arange(len(actions)), actions)
    names = ("probabilities", "following", "rewards", "ended")
    return replace(table, **{name: getattr(table, name)[chosen][:, None] for name in names})


# ---- Blackjack ----------------------------------------------------------------------------------

CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}
"""Probability of each card's worth; an infinite deck."""
Hand = tuple[int, bool]
"""Total, and whether an ace counts 11 in it."""


def _add(hand: Hand, card: int) -> Hand:
    total, soft = hand[0] + card, hand[1]
    if card == 1 and not soft and total + 10 <= 21:
        return total + 10, True
    return (total - 10, False) if soft and total > 21 else (total, soft)


def blackjack(*, sab: bool = True) -> Table:
    """The table of Gymnasium's Blackjack: 704 states of (sum, dealer's card, usable ace), and more.

    State 704 + d is a natural against the dealer's card d: under the rules of Sutton & Barto
    (`sab`) it wins where an equal sum would only draw, so it is a state of its own here, though
    the player sees (21, d, 1) for both.
    """
    states, most = 704 + 11, 11
    shape = (states, 2, most)
    probability, reward = np.zeros(shape), np.zeros(shape)
    following, ended = np.zeros(shape, np.int64), np.ones(shape, bool)
    start = np.zeros(states)
    for dealer, chance in CARDS.items():
        final = _dealer(dealer)
        for total in range(4, 22):
            for soft in (False, True):
                state = _index(total, dealer, soft)
                win = sum(p for hand, p in final.items() if hand[0] > 21 or hand[0] < total)
                lose = sum(p for hand, p in final.items() if total < hand[0] <= 21)
                probability[state, 0, :3] = win, lose, 1 - win - lose
                reward[state, 0, :3] = 1, -1, 0
                _hit((probability, reward, following, ended), state, (total, soft), dealer)
        natural = 704 + dealer
        source = _index(21, dealer, True)
        for array in (probability, reward, following, ended):
            array[natural] = array[source]
        if sab:
            blackjack_too = final.get((21, True), 0.0)
            probability[natural, 0, :3] = 1 - blackjack_too, 0, blackjack_too
        for first, p in CARDS.items():
            for second, q in CARDS.items():
                hand = _add(_add((0, False), first), second)
                at = natural if hand == (21, True) else _index(hand[0], dealer, hand[1])
                start[at] += chance * p * q
    return Table(probability, following, reward, ended, start, 100)


def _index(total: int, dealer: int, soft: bool) -> int:
    return (total * 11 + dealer) * 2 + int(soft)


def _hit(arrays: tuple[Any, Any, Any, Any], state: int, hand: Hand, dealer: int) -> None:
    probability, reward, following, ended = arrays
    for slot, (card, p) in enumerate(CARDS.items()):
        total, soft = _add(hand, card)
        probability[state, 1, slot] = p
        if total > 21:
            reward[state, 1, slot] = -1
        else:
            following[state, 1, slot] = _index(total, dealer, soft)
            ended[state, 1, slot] = False


def _dealer(card: int) -> dict[tuple[int, bool], float]:
    """Where the dealer ends: (sum, whether with two cards), with probabilities."""
    final: dict[tuple[int, bool], float] = {}
    hands: dict[tuple[Hand, int], float] = {(_add((0, False), card), 1): 1.0}
    while hands:
        (hand, cards), chance = hands.popitem()
        if hand[0] >= 17:
            key = (hand[0], cards == 2)
            final[key] = final.get(key, 0.0) + chance
            continue
        for drawn, p in CARDS.items():
            after = (_add(hand, drawn), cards + 1)
            hands[after] = hands.get(after, 0.0) + chance * p
    return final
