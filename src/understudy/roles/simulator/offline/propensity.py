"""The behaviour's probabilities: a multinomial logistic model, fitted to other people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from understudy.data.transitions import Floats, Offline, Scaler
from understudy.roles.simulator.offline.config import OfflineError

PENALTY = 1e-3
"""Of the squared weights, per decision; keeps a person's rare action from being impossible."""
STEPS = 100
"""Of Newton's method; a handful do."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What the data's own policy does, as estimated: μ̂(a|s)."""

    weights: Floats
    """[D + 1, K], the last row for the constant."""
    scaler: Scaler
    name: str = "behaviour"

    def probabilities(self, states: ArrayLike) -> Floats:
        """[N, K]."""
        x = self.scaler(states)
        return _softmax(x @ self.weights[:-1] + self.weights[-1])


def fit_behaviour(data: Offline) -> Behaviour:
    """Multinomial logistic regression of actions on states, by Newton's method; convex, so no seed.

    Raises:
        OfflineError: it did not converge.
    """
    scaler = Scaler.fit(data)
    x = np.column_stack([scaler(data.states), np.ones(len(data.actions))])
    taken = np.eye(data.n_actions)[data.actions]
    # A constant for all actions alike changes nothing; a trace of penalty decides for none.
    penalty = np.repeat([PENALTY] * data.width + [1e-9], data.n_actions)
    weights = np.zeros(len(penalty))
    loss = _loss(weights, x, taken, penalty)
    for _ in range(STEPS):
        gradient, hessian = _derivatives(weights, x, taken, penalty)
        if np.abs(gradient).max() < 1e-8:
            return Behaviour(weights.reshape(-1, data.n_actions), scaler)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        # Far from the minimum a whole step may overshoot.
        while (found := _loss(weights - size * step, x, taken, penalty)) > loss and size > 1e-6:
            size /= 2
        weights, loss = weights - size * step, min(loss, found)
    raise OfflineError("the model of the behaviour did not converge; look at its states")


def _loss(weights: Floats, x: Floats, taken: Floats, penalty: Floats) -> float:
    logits = x @ weights.reshape(x.shape[1], -1)
    top = logits.max(1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return float((total - (taken * logits).sum(1)).mean() + penalty @ weights**2)


def _derivatives(
    weights: Floats, x: Floats, taken: Floats, penalty: Floats
) -> tuple[Floats, Floats]:
    """Gradient and Hessian of `_loss` by the flat weights, state-major."""
    width, actions = x.shape[1], taken.shape[1]
    p = _softmax(x @ weights.reshape(width, -1))
    gradient = (x.T @ (p - taken) / len(x)).ravel() + 2 * penalty * weights
    hessian = np.empty((width, actions, width, actions))
    for a in range(actions):
        for b in range(actions):
            curve = p[:, a] * ((a == b) - p[:, b])
            hessian[:, a, :, b] = (x * curve[:, None]).T @ x / len(x)
    return gradient, hessian.reshape(len(weights), -1) + np.diag(2 * penalty)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def propensities(data: Offline, folds: np.ndarray) -> Floats:
    """μ̂(·|s) of every decision [N, K], fitted without the person whose decision it is.

    Args:
        data: the people.
        folds: a group for each person [P]; each group's come from a fit to all the others.
    """
    out = np.empty((len(data.actions), data.n_actions))
    for fold in np.unique(folds):
        rows = folds[data.person] == fold
        others = data.select(np.flatnonzero(folds != fold))
        out[rows] = fit_behaviour(others).probabilities(data.states[rows])
    return out
