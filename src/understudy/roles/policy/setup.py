"""From a policy configuration to the things a run is made of: tasks, environments, prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.envs.base import Task
from understudy.envs.few_shot import few_shot
from understudy.envs.fingerprints import assert_disjoint
from understudy.envs.registry import make_task
from understudy.envs.text_env import TextEnv
from understudy.roles.policy.config import PolicyConfig, TaskConfig
from understudy.rollout.prompting import Prompt
from understudy.run.seed import Seeds

OVERLAP_CHECKED = 2000
"""Problems of the training split compared with the evaluated ones."""


@dataclass(frozen=True)
class Setting:
    """The two splits of an environment and how their problems are put."""

    train: Task
    test: Task
    hard: Task | None
    """A second held-out set, harder than what is trained on."""
    prompt: Prompt
    config: TaskConfig
    unreadable: float = 0.0
    """Reward of an answer in which none can be read."""

    def train_env(self) -> TextEnv:
        """One environment of the training split."""
        return self.env(self.train)

    def test_env(self) -> TextEnv:
        """One environment of the held-out split."""
        return self.env(self.test)

    def hard_env(self) -> TextEnv:
        """One environment of the harder held-out set."""
        return self.env(self.hard or self.test)

    def env(self, task: Task) -> TextEnv:
        """One environment of a split."""
        return TextEnv(
            task,
            mode=self.config.mode,
            calculator=self.config.calculator,
            max_steps=self.config.max_steps,
            unreadable=self.unreadable,
        )

    def test_indices(self, count: int) -> list[int]:
        """The first `count` held-out problems (all, if there are fewer)."""
        return list(range(min(count, len(self.test))))


def setting_of(config: PolicyConfig) -> Setting:
    """What a configuration names; see `make_setting`."""
    return make_setting(
        config.env,
        config.task,
        config.seed,
        config.eval_problems,
        unreadable=config.reward.unreadable,
    )


def make_setting(
    env: str, config: TaskConfig, seed: int, eval_problems: int, *, unreadable: float = 0.0
) -> Setting:
    """Builds both splits and makes sure that no evaluated problem is trained on.

    Raises:
        EnvError: unknown environment or option, unreadable data, or overlapping splits.
    """
    train = make_task(env, split="train", **_options(config, config.path))
    test = make_task(env, split="test", **_options(config, config.eval_path))
    hard = None
    if config.hard_options:
        hard = make_task(
            env, split="test", **{**_options(config, config.eval_path), **config.hard_options}
        )
    for held_out in (test, *([hard] if hard else [])):
        assert_disjoint(train, held_out, limit=max(OVERLAP_CHECKED, eval_problems))
    shots = few_shot(train, config.shots, Seeds(seed).generator("shots")) if config.shots else ()
    return Setting(train, test, hard, Prompt(config.system, shots), config, unreadable)


def _options(config: TaskConfig, path: str | None) -> dict[str, object]:
    return {**config.options, **({"path": path} if path else {})}


def draw_problems(task: Task, count: int, rng: np.random.Generator) -> list[int]:
    """Indices of `count` different problems."""
    if count > len(task):
        return rng.integers(len(task), size=count).tolist()
    if len(task) > 50 * count:  # a permutation of a million indices per step would be waste
        seen: dict[int, None] = {}
        while len(seen) < count:
            seen.setdefault(int(rng.integers(len(task))))
        return list(seen)
    return rng.permutation(len(task))[:count].tolist()
