"""The one loop that steps a world with a small network acting, and evaluation on fixed episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from understudy.rollout.world import Features, Floats, Ints, Observation, World


class Outlook(Protocol):
    """What an actor-critic makes of some rows."""

    @property
    def logits(self) -> Tensor:
        """Of actions, [R, A]."""
        ...

    @property
    def values(self) -> Tensor:
        """Of the states, [R]."""
        ...

    @property
    def hidden(self) -> Tensor:
        """Its memory afterwards, [R, D]."""
        ...


Actor = Callable[[Features, Tensor, Tensor], Outlook]
"""(features, memory [R, D], where an episode begins [R]) → outlook."""
Advise = Callable[[Observation], Floats]
"""A teacher: an observation → action probabilities [R, A]."""


@dataclass
class Stage:
    """A world under way: what the next step begins from."""

    world: World
    observation: Observation
    starts: Tensor
    """Where an episode begins with this observation, bool [R]."""
    hidden: Tensor
    """The actor's memory, [R, D]."""
    returns: Floats
    """Rewards of the episode so far, [R]."""

    @classmethod
    def begin(cls, world: World, seed: int, hidden: Tensor) -> Stage:
        """Starts every episode anew."""
        observation = world.reset(seed)
        starts = torch.ones(world.rows, dtype=torch.bool, device=hidden.device)
        return cls(world, observation, starts, hidden, np.zeros(world.rows, np.float32))


@dataclass
class Segment:
    """T steps of R rows; [T, R] where nothing else is said."""

    features: Features
    """[T, R, …]"""
    starts: Tensor
    hidden: Tensor
    """The memory before the first step, [R, D]."""
    actions: Tensor
    logits: Tensor
    """[T, R, A]"""
    values: Tensor
    next_values: Tensor
    """V of the state the step led to, also where the episode was cut there."""
    rewards: Tensor
    terminated: Tensor
    ended: Tensor
    teacher: Tensor | None = None
    """The teacher's action probabilities, [T, R, A]."""
    returns: list[float] = field(default_factory=list[float])
    """Of the episodes that ended, by row."""


@torch.no_grad()
def collect_steps(
    stage: Stage, actor: Actor, steps: int, rng: np.random.Generator, advise: Advise | None = None
) -> Segment:
    """Acts for `steps` steps in every row, by sampling; `stage` moves on.

    The world is on the CPU; what the actor reads, and the segment, are where its memory is.
    """
    world, device = stage.world, stage.hidden.device
    made: dict[str, list[Any]] = {name: [] for name in _STACKED}
    features: list[Features] = []
    ended_returns: list[float] = []
    first_hidden = stage.hidden
    for _ in range(steps):
        seen = features_on(device, world, stage.observation)
        outlook = actor(seen, stage.hidden, stage.starts)
        actions = sample(outlook.logits, rng)
        features.append(seen)
        made["starts"].append(stage.starts)
        made["logits"].append(outlook.logits)
        made["values"].append(outlook.values)
        made["actions"].append(torch.from_numpy(actions).to(device))
        if advise is not None:
            made["teacher"].append(torch.from_numpy(advise(stage.observation)).to(device))
        turn = world.step(actions)
        ended = turn.terminated | turn.truncated
        made["rewards"].append(torch.from_numpy(turn.rewards).to(device))
        made["terminated"].append(torch.from_numpy(turn.terminated).to(device))
        made["ended"].append(torch.from_numpy(ended).to(device))
        final = torch.zeros(world.rows, device=device)
        cut = turn.truncated & ~turn.terminated
        if turn.final is not None and cut.any():
            # Only a cut episode's last state has a value that counts.
            seen = features_on(device, world, turn.final)
            last = actor(seen, outlook.hidden, torch.zeros_like(stage.starts))
            final = last.values
        made["final"].append(final)
        stage.returns = stage.returns + turn.rewards
        ended_returns += stage.returns[ended].tolist()
        stage.returns[ended] = 0
        stage.observation, stage.hidden = turn.observation, outlook.hidden
        stage.starts = made["ended"][-1]
    last = actor(features_on(device, world, stage.observation), stage.hidden, stage.starts)
    stacked = {name: torch.stack(parts) for name, parts in made.items() if parts}
    following = torch.cat([stacked["values"][1:], last.values[None]])
    return Segment(
        features={name: torch.stack([f[name] for f in features]) for name in features[0]},
        hidden=first_hidden,
        next_values=torch.where(stacked["ended"], stacked.pop("final"), following),
        returns=ended_returns,
        **stacked,
    )


_STACKED = (
    "starts", "logits", "values", "actions", "teacher", "rewards", "terminated", "ended", "final",
)  # fmt: skip


def features_on(device: torch.device, world: World, observation: Observation) -> Features:
    """What a network reads of an observation, where the network is."""
    return {name: value.to(device) for name, value in world.features(observation).items()}


def sample(logits: Tensor, rng: np.random.Generator) -> Ints:
    """One action per row from softmax(logits [R, A]); the noise is drawn on the CPU."""
    cumulative = logits.cpu().softmax(-1).double().cumsum(-1)
    u = torch.from_numpy(rng.random(len(logits))) * cumulative[:, -1]
    return (cumulative <= u[:, None]).sum(-1).numpy()


@dataclass(frozen=True, slots=True)
class Played:
    """Whole episodes, one per row of the world, in the order of their seeds."""

    rewards: Floats
    """[T, R], 0 after an episode's end."""
    lengths: Ints
    """[R]"""

    @property
    def returns(self) -> Floats:
        """Undiscounted sums of rewards, [R]."""
        return self.rewards.sum(0)

    @property
    def successes(self) -> int:
        """Episodes with a return above 0."""
        return int((self.returns > 0).sum())


@torch.no_grad()
def play_episodes(
    world: World,
    seed: int,
    act: Callable[[Observation, Tensor], Ints],
) -> Played:
    """The first episode of every row of a freshly seeded world.

    Args:
        world: the environments; environment i is seeded with `seed` + i.
        seed: of the episodes.
        act: (observation, where an episode begins [R]) → actions [R].
    """
    observation = world.reset(seed)
    starts = torch.ones(world.rows, dtype=torch.bool)
    rewards: list[Floats] = []
    lengths = np.zeros(world.rows, np.int64)
    open_ = np.ones(world.rows, bool)
    while open_.any():
        turn = world.step(act(observation, starts))
        rewards.append(np.where(open_, turn.rewards, 0).astype(np.float32))
        lengths += open_
        ended = turn.terminated | turn.truncated
        open_ &= ~ended
        observation, starts = turn.observation, torch.from_numpy(ended)
    return Played(np.stack(rewards), lengths)
