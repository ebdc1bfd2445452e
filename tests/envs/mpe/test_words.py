"""Sentences are right, few, and say enough to act on."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from understudy.envs.mpe.skills import act, expert_actions, expert_goals
from understudy.envs.mpe.vector import MpeVector, make_task
from understudy.envs.mpe.words import describe, goals


def test_spread_in_words() -> None:
    task = make_task("simple_spread", N=2)
    seen = np.zeros((3, 12), np.float32)
    seen[:, 4:6] = [[0.5, 0], [0.5, 0], [0.05, 0]]  # landmark 1
    seen[:, 6:8] = [[0, -0.2], [0, -0.9], [0, -0.9]]  # landmark 2
    seen[:, 8:10] = [[0, -2], [0.5, 0.1], [0, -0.8]]  # the other agent
    assert describe(task, "agent_1", seen) == [
        "Landmarks from near to far: 2 (nearest: you), 1 (nearest: you).",
        "Landmarks from near to far: 1 (nearest: agent_0), 2 (nearest: you).",
        "Landmarks from near to far: 1 (nearest: you), 2 (nearest: agent_0). You stand on landmark 1.",
    ]
    assert goals(task, "agent_1") == ("go to landmark 1", "go to landmark 2", "stay")


def test_the_hunter_in_words() -> None:
    task = make_task("simple_tag", num_adversaries=2, num_obstacles=0)
    seen = np.zeros((2, 10), np.float32)
    seen[:, 4:6] = [[0, 2], [0.5, 0.1]]  # the other adversary
    seen[:, 6:8] = [[0.1, -0.15], [0.9, 0.2]]  # the prey
    seen[:, 8:10] = [[0.1, 0.1], [-1, 0.5]]  # its velocity
    assert describe(task, "adversary_0", seen) == [
        "agent_0 is very close, below you, hardly moving. You are the nearest to it.",
        "agent_0 is far, right of you, running left. Another adversary is the nearest to it.",
    ]


def test_the_prey_in_words() -> None:
    task = make_task("simple_tag", num_adversaries=2, num_obstacles=0)
    seen = np.zeros((2, 8), np.float32)
    seen[:, 2:4] = [[0, 0], [-0.8, 0.9]]
    seen[:, 4:6] = [[0, 2], [0.4, 0.1]]
    seen[:, 6:8] = [[-0.5, 0.1], [0, -1]]
    assert describe(task, "agent_0", seen) == [
        "The nearest adversary is near, left of you, the next one above you.",
        "The nearest adversary is near, right of you, the next one below you. "
        "The left and top edges are close.",
    ]


def test_one_adversary_has_no_next() -> None:
    task = make_task("simple_tag", num_adversaries=1, num_obstacles=0)
    assert describe(task, "agent_0", np.full((1, 6), 0.1)) == [
        "The nearest adversary is very close, right of you."
    ]


def test_speaker_and_listener_in_words() -> None:
    task = make_task("simple_speaker_listener")
    assert describe(task, "speaker_0", np.array([[0.15, 0.15, 0.65]])) == [
        "The listener must go to the blue landmark."
    ]
    assert goals(task, "speaker_0") == ("say red", "say green", "say blue")
    seen = np.zeros((2, 11))
    seen[:, 2:8] = [[1, 0, 0, 0.5, 2, 0], [0.05, 0, 1, 0, 0.5, 0]]
    seen[1, 9] = 1
    assert describe(task, "listener_0", seen) == [
        "You heard nothing. Landmarks from near to far: green, red, blue.",
        "You heard green. Landmarks from near to far: red, blue, green. You stand on the red one.",
    ]
    assert goals(task, "listener_0")[1] == "go to the green landmark"


TEXTS = {"agent": 324, "speaker": 3, "listener": 48}
"""Most texts of an agent of spread (6 orders × 27 × 2), the speaker and the listener (4 × 6 × 2)."""


@pytest.mark.parametrize(
    ("task", "limits"),
    [
        ("simple_spread", TEXTS),
        ("simple_speaker_listener", TEXTS),
        # 4 sides × 3 distances × 5 motions × 2; 4 × 3 × 4 × 9 edges.
        ("simple_tag", {"adversary": 120, "agent": 432}),
    ],
)
def test_texts_are_few_and_a_table_of_them_plays_well(task: str, limits: dict[str, int]) -> None:
    # Goal by text, the expert's most frequent one: spread -9.5 (expert -7.4, random -26.7), tag and
    # speaker-listener as the expert. Texts met: 214 of 324, 118 of 120 and 305 of 432, 3 and 48.
    worlds = 150
    vector = MpeVector(task, worlds)
    votes: dict[str, dict[str, Counter[int]]] = {a: defaultdict(Counter) for a in vector.agents}
    seen = vector.reset(1)
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen, actions = expert_goals(vector.task, seen), expert_actions(vector.task, seen)
        for agent, size in vector.action_sizes.items():
            for text, goal in zip(
                describe(vector.task, agent, seen[agent]), chosen[agent].tolist(), strict=True
            ):
                votes[agent][text][goal] += 1
            random = rng.integers(size, size=worlds)
            actions[agent] = np.where(rng.random(worlds) < 0.2, random, actions[agent])
        seen, *_ = vector.step(actions)
    for agent in vector.agents:
        assert len(votes[agent]) <= limits[agent.split("_")[0]]

    def by_text(vector: MpeVector, seen: dict[str, Any]) -> dict[str, Any]:
        actions: dict[str, Any] = {}
        for agent in vector.agents:
            stay = Counter([len(goals(vector.task, agent)) - 1])
            texts = describe(vector.task, agent, seen[agent])
            goal = [votes[agent].get(text, stay).most_common(1)[0][0] for text in texts]
            actions[agent] = act(vector.task, agent, np.array(goal), seen[agent])
        return actions

    def by_expert(vector: MpeVector, seen: dict[str, Any]) -> dict[str, Any]:
        return expert_actions(vector.task, seen)

    table, expert = (episode(MpeVector(task, worlds), way) for way in (by_text, by_expert))
    assert table > expert - 3.5


def episode(vector: MpeVector, way: Any) -> float:
    """Mean return of the first agent over one episode of every world."""
    seen = vector.reset(50)
    total = 0.0
    for _ in range(vector.max_cycles):
        seen, rewards, *_ = vector.step(way(vector, seen))
        total += float(rewards[vector.agents[0]].mean())
    return total
