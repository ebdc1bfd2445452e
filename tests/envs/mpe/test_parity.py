"""The batched tasks against mpe2, step by step and episode by episode, from the same seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpe2 import simple_speaker_listener_v4, simple_spread_v3, simple_tag_v3

from understudy.envs.mpe.vector import MpeVector

PEERS: dict[str, Any] = {
    "simple_spread": simple_spread_v3,
    "simple_tag": simple_tag_v3,
    "simple_speaker_listener": simple_speaker_listener_v4,
}


def compare(
    task: str, worlds: int, steps: int, seed: int, lean: float = 0.0, **options: Any
) -> int:
    """Steps both with the same actions; agents repeat their last action with probability `lean`."""
    ours = MpeVector(task, worlds, **options)
    peers = [PEERS[task].parallel_env(**options) for _ in range(worlds)]
    rng = np.random.default_rng(seed)
    seen = ours.reset(seed)
    theirs = [peer.reset(seed=seed + i)[0] for i, peer in enumerate(peers)]
    contacts = 0
    actions = {a: np.zeros(worlds, np.int64) for a in ours.agents}
    assert ours.agents == tuple(peers[0].possible_agents)
    for _ in range(steps):
        for agent in ours.agents:
            assert ours.action_sizes[agent] == peers[0].action_space(agent).n
            np.testing.assert_allclose(
                seen[agent], np.stack([t[agent] for t in theirs]), rtol=1e-6, atol=1e-6
            )
            fresh = rng.integers(ours.action_sizes[agent], size=worlds)
            actions[agent] = np.where(rng.random(worlds) < lean, actions[agent], fresh)
        seen, rewards, truncated, last = ours.step(actions)
        for i, peer in enumerate(peers):
            theirs[i], earned, _, cut, _ = peer.step({a: int(actions[a][i]) for a in ours.agents})
            for agent in ours.agents:
                assert rewards[agent][i] == pytest.approx(earned[agent], rel=1e-6, abs=1e-6)
                assert cut[agent] == truncated[i]
            contacts += any(abs(r) >= 5 for r in earned.values())
            if truncated[i]:
                assert last is not None
                for agent in ours.agents:
                    np.testing.assert_allclose(
                        last[agent][i], theirs[i][agent], rtol=1e-6, atol=1e-6
                    )
                theirs[i] = peer.reset()[0]
    return contacts


@pytest.mark.parametrize("task", PEERS)
def test_ten_thousand_steps_are_those_of_mpe2(task: str) -> None:
    compare(task, worlds=4, steps=2500, seed=7)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("simple_spread", {"N": 1, "local_ratio": 0.2}),
        ("simple_spread", {"N": 5, "local_ratio": 0.9, "max_cycles": 40}),
        ("simple_tag", {"num_good": 2, "num_adversaries": 6, "num_obstacles": 3}),
        ("simple_tag", {"num_good": 3, "num_adversaries": 1, "num_obstacles": 0}),
    ],
)
def test_options_are_those_of_mpe2(task: str, options: dict[str, Any]) -> None:
    compare(task, worlds=2, steps=100, seed=3, lean=0.8, **options)


def test_touches_and_the_edge_are_those_of_mpe2() -> None:
    assert compare("simple_tag", 2, 250, seed=11, lean=0.9, num_adversaries=8) > 20
