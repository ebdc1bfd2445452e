"""Batches give the returns that Gymnasium's single environments give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from understudy.envs.base import EnvError
from understudy.envs.control.register import limit_of, make
from understudy.envs.control.vector import Arena, Seen, flatten, play

STEPPED = (
    "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1",
    "FrozenLake-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4",
    "understudy/Nim-v0", "understudy/Maze-v0",
)  # fmt: skip
POOLED = ("Blackjack-v1", "understudy/Pong-v0", "Swimmer-v5", "LunarLander-v3")


class Fixed:
    """Policies that hash what they see into an action: many different ones, none of them good."""

    def __init__(self, arena: Arena, count: int) -> None:
        self.arena, self.count = arena, count
        width = getattr(arena.observation_space, "shape", ())
        self.weights = np.random.default_rng(7).normal(size=(count, *(width or (1,)))) * 3.0

    def __len__(self) -> int:
        return self.count

    def rows(self, policy: Any) -> Callable[[Any], Any]:
        weights = self.weights[policy]

        def act(seen: Any) -> Any:
            if self.arena.observation_space.shape:
                score = sum(w * s for w, s in zip(weights.T, seen.T.astype(float), strict=True))
            else:
                score = weights[:, 0] * np.sin(seen * 12.9898) * 43.7
            space = self.arena.action_space
            if hasattr(space, "n"):
                return (np.abs(score) * 10).astype(int) % space.n
            spread = np.stack([score * (1 + 0.3 * i) for i in range(space.shape[0])], axis=1)
            return (spread * 0.7).astype(np.float32)  # some of it beyond the limits

        return act


def one_at_a_time(env_id: str, policies: Fixed, seed: int, which: int) -> tuple[float, int]:
    env = make(env_id)
    act = policies.rows(np.array([which]))
    seen, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        action = act(flatten(env.observation_space, seen)[None])[0]
        seen, reward, terminated, truncated, _ = env.step(
            int(action) if hasattr(env.action_space, "n") else action
        )
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    env.close()
    return total, steps


# Box2D's import warns, and ends the process where its warnings are errors.
@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
@pytest.mark.parametrize("env_id", STEPPED + POOLED)
def test_returns_are_those_of_single_environments(env_id: str) -> None:
    arena = Arena(env_id)
    assert arena.vectorised == (env_id in STEPPED)
    slow = env_id == "Swimmer-v5"
    policies, seeds = Fixed(arena, 2 if slow else 5), [3, 11] if slow else [3, 11, 0, 2**40, 5, 6]
    played = arena.play(policies, seeds)
    for p in range(len(policies)):
        for e, seed in enumerate(seeds):
            total, steps = one_at_a_time(env_id, policies, seed, p)
            assert played.lengths[p, e] == steps
            assert abs(played.returns[p, e] - total) <= 1e-9, (p, seed)
    arena.close()


def test_the_returns_tell_policies_and_seeds_apart() -> None:
    for env_id in ("CartPole-v1", "MountainCarContinuous-v0", "Pendulum-v1", "FrozenLake-v1"):
        arena = Arena(env_id)
        returns = arena.play(Fixed(arena, 40), list(range(30))).returns
        assert len(np.unique(returns.round(6))) > 1, env_id


def test_an_episode_does_not_depend_on_what_is_played_beside_it() -> None:
    for env_id in ("Acrobot-v1", "understudy/Pong-v0", "Taxi-v4"):
        arena = Arena(env_id)
        many = arena.play(Fixed(arena, 12), list(range(6))).returns
        alone = arena.play(Fixed(arena, 12), [4]).returns
        assert np.array_equal(many[:, 4:5], alone)


def test_options_reach_the_environment_and_leave_the_fast_path_right() -> None:
    calm = play("FrozenLake-v1", _always(2), [0, 1, 2], options={"is_slippery": False})
    # Right, right, right, then against the edge until time is up.
    assert calm.lengths.tolist() == [[100, 100, 100]]
    short = Arena("CartPole-v1", {"max_episode_steps": 5})
    assert short.vectorised
    assert short.limit == 5
    other = Arena("CartPole-v1", {"sutton_barto_reward": True})
    assert not other.vectorised
    assert other.play(_always(0), [0]).returns.tolist() == [[-1.0]]


def test_a_watcher_sees_every_step_once() -> None:
    arena = Arena("understudy/Maze-v0")
    counts = np.zeros((3, 9), int)

    def watch(seen: Seen) -> None:
        np.add.at(counts, (seen.policy, seen.observations), 1)
        assert set(seen.rewards[~seen.terminated].tolist()) <= {-0.01}

    played = arena.play(Fixed(arena, 3), [0, 1], watch)
    assert counts.sum() == played.lengths.sum()
    assert counts[:, 0].min() >= 2


def test_bad_input_is_told_in_one_line() -> None:
    with pytest.raises(EnvError, match=r"CartPol-v1.*did you mean CartPole-v1"):
        make("CartPol-v1")
    with pytest.raises(EnvError, match="env_options"):
        make("CartPole-v1", {"gravity": 1.0})


def test_a_module_before_a_colon_is_imported_and_registers_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
gymnasium.register("Elsewhere-v0", entry_point=CartPoleEnv, max_episode_steps=7)
"""
    (tmp_path / "elsewhere_games.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    assert limit_of(make("elsewhere_games:Elsewhere-v0")) == 7
    with pytest.raises(EnvError, match="No module named 'nowhere_games'"):
        make("nowhere_games:Elsewhere-v0")
    with pytest.raises(EnvError, match="did you mean Elsewhere-v0"):
        make("elsewhere_games:Elsewhere-v9")


def test_spaces_that_do_not_count_from_zero_are_refused() -> None:
    class Shifted(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Discrete(3, start=1)
        action_space = gymnasium.spaces.Discrete(2)

    gymnasium.register("understudy-test/Shifted-v0", entry_point=Shifted)
    try:
        with pytest.raises(EnvError, match="counts from 1"):
            Arena("understudy-test/Shifted-v0")
    finally:
        gymnasium.registry.pop("understudy-test/Shifted-v0")


def _always(action: int) -> Any:
    class Always:
        def __len__(self) -> int:
            return 1

        def rows(self, policy: Any) -> Any:
            return lambda seen: np.full(len(seen), action)

    return Always()
