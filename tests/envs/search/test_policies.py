"""Policies do what their parameters say, whatever stands beside them in a batch."""

import json
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from understudy.envs.base import EnvError
from understudy.envs.search.policies import Linear, Scale, Table, make_policy

SEEN = spaces.Box(-np.inf, np.inf, (3,), np.float32)
PUSH = spaces.Box(np.array([-1, -0.5], np.float32), np.array([1, 2], np.float32))
SCALE = Scale(np.array([1.0, 0.0, -2.0]), np.array([2.0, 0.5, 1.0]))


def observations(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32) * 3


def by_hand(arrays: dict[str, Any], seen: np.ndarray) -> Any:
    """What a reader of the file would write."""
    z = np.clip((seen - np.array(arrays["mean"])) / arrays["std"], -10, 10)
    scores = z @ np.array(arrays["weights"]) + arrays["bias"]
    if "low" in arrays:
        return np.clip(scores, arrays["low"], arrays["high"])
    return np.argmax(np.append(0.0, scores))


@pytest.mark.parametrize("actions", [spaces.Discrete(2), spaces.Discrete(4), PUSH])
@pytest.mark.parametrize(("rank", "bias"), [(0, True), (1, True), (0, False)])
def test_linear_is_what_its_file_says(actions: Any, rank: int, bias: bool) -> None:
    policy = Linear(SEEN, actions, SCALE, rank=rank, bias=bias)
    outputs = 2 if actions is PUSH else actions.n - 1
    thin = 0 < rank < outputs
    assert len(policy.space) == (3 + outputs if thin else 3 * outputs) + bias * outputs
    points = policy.space.sample(6, np.random.default_rng(0))
    seen = observations(40)
    rows = np.arange(40) % 6
    acts = policy.bind(points).rows(rows)(seen)
    assert len(np.unique(acts.round(3))) > 1
    for row, (action, observation) in enumerate(zip(acts, seen, strict=True)):
        arrays = json.loads(json.dumps(policy.arrays(points[rows[row]])))
        expected = by_hand(arrays, observation.astype(float))
        assert np.allclose(action, expected, atol=1e-5)
        assert actions.contains(action) or actions is not PUSH


def test_an_action_does_not_depend_on_the_batch() -> None:
    policy = Linear(SEEN, PUSH, SCALE)
    points, seen = policy.space.sample(64, np.random.default_rng(0)), observations(64)
    together = policy.bind(points).rows(np.arange(64))(seen)
    alone = [
        policy.bind(points[i : i + 1]).rows(np.array([0]))(seen[i : i + 1])[0] for i in range(64)
    ]
    assert np.array_equal(together, np.stack(alone))


def test_parameters_are_named_in_their_order() -> None:
    policy = Linear(SEEN, spaces.Discrete(3), Scale.none(3))
    assert policy.space.names[:2] == ("observation 0 to action 1", "observation 0 to action 2")
    assert policy.space.names[-1] == "bias of action 2"
    point = np.zeros(8, int)
    point[policy.space.names.index("observation 2 to action 2")] = 10
    act = policy.bind(point[None]).rows(np.zeros(2, int))
    assert act(np.array([[0, 0, 1.0], [5, 5, -1.0]], np.float32)).tolist() == [2, 0]


def test_a_table_takes_the_action_of_the_state() -> None:
    table = make_policy("table", spaces.Discrete(5), spaces.Discrete(3))
    assert isinstance(table, Table)
    assert table.space.categorical.all()
    assert table.space.levels.tolist() == [3] * 5
    act = table.bind([(0, 1, 2, 1, 0), (2, 2, 2, 2, 2)]).rows(np.array([0, 1, 0]))
    assert act(np.array([2, 2, 4])).tolist() == [2, 2, 0]
    assert table.arrays((0, 1, 2, 1, 0)) == {"kind": "table", "actions": [0, 1, 2, 1, 0]}


def test_values_take_the_greatest() -> None:
    table = make_policy("values", spaces.Discrete(2), spaces.Discrete(3))
    assert len(table.space) == 6
    act = table.bind([(1, 5, 2, -3, -7, -1)]).rows(np.array([0, 0]))
    assert act(np.array([0, 1])).tolist() == [1, 2]


def test_numbers_are_cut_into_bins() -> None:
    table = make_policy("table", SEEN, spaces.Discrete(2), SCALE, bins=4)
    assert isinstance(table, Table)
    assert len(table.space) == 64
    middle = SCALE.mean.astype(np.float32)
    below, above = middle - 10 * SCALE.std, middle + 10 * SCALE.std
    assert table.state(np.stack([below, above, middle + 0.1, middle - 0.1])).tolist() == [
        0,
        63,
        42,
        21,
    ]
    push = make_policy("table", spaces.Discrete(2), PUSH, bins=3)
    assert push.space.levels.tolist() == [9, 9]
    act = push.bind([(0, 8)]).rows(np.array([0, 0]))
    assert act(np.array([0, 1])).tolist() == [[-1.0, -0.5], [1.0, 2.0]]


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(EnvError, match="use --policy table"):
        make_policy("linear", spaces.Discrete(4), spaces.Discrete(2))
    with pytest.raises(EnvError, match="too large"):
        make_policy("table", spaces.Box(-1, 1, (8,)), spaces.Discrete(2), bins=5)
    with pytest.raises(EnvError, match="cannot act"):
        make_policy("linear", SEEN, spaces.MultiDiscrete([2, 2]))
    with pytest.raises(EnvError, match="cannot act"):
        make_policy("table", spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (1,)))
