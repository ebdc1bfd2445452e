"""The behaviour's probabilities: a multinomial logistic model, fitted to other people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from understudy.data.transitions import Floats, Offline, Scaler
from understudy.roles.simulator.offline.config import OfflineError

PENALTY = 1e-3
"""Of the squared weights, per decision; keeps a person's rare action from being impossible."""


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
        logits = x @ self.weights[:-1] + self.weights[-1]
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def fit_behaviour(data: Offline) -> Behaviour:
    """Multinomial logistic regression of actions on states, by L-BFGS; convex, so no seed.

    Raises:
        OfflineError: it did not converge.
    """
    scaler = Scaler.fit(data)
    x = torch.from_numpy(np.column_stack([scaler(data.states), np.ones(len(data.actions))]))
    actions = torch.from_numpy(data.actions)
    weights = torch.zeros(x.shape[1], data.n_actions, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        loss = torch.nn.functional.cross_entropy(x @ weights, actions)
        loss = loss + PENALTY * weights[:-1].square().sum()
        (weights.grad,) = torch.autograd.grad(loss, [weights])
        return float(loss.detach())

    optimizer.step(closure)
    closure()
    assert weights.grad is not None
    if not float(weights.grad.abs().max()) < 1e-3:
        raise OfflineError("the model of the behaviour did not converge; look at its states")
    return Behaviour(weights.detach().numpy(), scaler)


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
