"""Our data for d3rlpy, an extra (`pip install understudy[d3rlpy]`)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from understudy.data.transitions import Offline, Scaler
from understudy.roles.simulator.offline.config import OfflineError


def to_d3rlpy(data: Offline, scaler: Scaler | None = None) -> Any:
    """The people as a `d3rlpy.dataset.MDPDataset`: an episode each, drop-out terminal.

    Args:
        data: the people.
        scaler: applied to the states; None leaves them as they are.

    Raises:
        OfflineError: d3rlpy is not installed.
    """
    try:
        dataset: Any = importlib.import_module("d3rlpy.dataset")
        constants: Any = importlib.import_module("d3rlpy.constants")
    except ImportError:
        raise OfflineError("the export needs d3rlpy: pip install understudy[d3rlpy]") from None
    return dataset.MDPDataset(
        **mdp_arrays(data, scaler),
        action_space=constants.ActionSpace.DISCRETE,
        action_size=data.n_actions,
    )


def mdp_arrays(data: Offline, scaler: Scaler | None = None) -> dict[str, Any]:
    """Observations, actions, rewards, terminals and timeouts as d3rlpy's MDPDataset takes them.

    A truncated person's final state is a row of its own, whose action and reward nobody learns from:
    d3rlpy makes no transition of an episode's last row unless it is terminal.
    """
    states = data.states if scaler is None else scaler(data.states)
    finals = data.final_states if scaler is None else scaler(data.final_states)
    observations, actions, rewards, terminals, timeouts = [], [], [], [], []
    for i, start in enumerate(data.starts):
        rows = slice(start, start + data.lengths[i])
        extra = 0 if data.terminal[i] else 1
        ends = np.zeros(data.lengths[i] + extra)
        ends[-1] = 1.0
        observations.append(np.concatenate([states[rows], finals[i : i + extra]]))
        actions.append(np.concatenate([data.actions[rows], np.zeros(extra, dtype=np.int64)]))
        rewards.append(np.concatenate([data.rewards[rows], np.zeros(extra)]))
        terminals.append(ends * (1 - extra))
        timeouts.append(ends * extra)
    return {
        "observations": np.concatenate(observations).astype(np.float32),
        "actions": np.concatenate(actions)[:, None],
        "rewards": np.concatenate(rewards)[:, None].astype(np.float32),
        "terminals": np.concatenate(terminals).astype(np.float32),
        "timeouts": np.concatenate(timeouts).astype(np.float32),
    }
