"""The parts of an agent's observation by name, so that words and skills read the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.mpe.speaker_listener import SPEAKER, SpeakerListener
from understudy.envs.mpe.spread import Spread
from understudy.envs.mpe.tag import Tag
from understudy.envs.mpe.world import Floats, Task


@dataclass(frozen=True)
class View:
    """What one agent sees in N worlds; places are relative to it. Empty where it does not see a thing."""

    velocity: Floats
    """[N, 2]."""
    position: Floats
    """[N, 2], from the middle of the square; zeros for the listener, which does not know."""
    landmarks: Floats
    """[N, L, 2]."""
    others: Floats
    """[N, O, 2], in the order of `names`."""
    names: tuple[str, ...]
    """The other agents it sees [O]."""
    prey_velocities: Floats
    """[N, P, 2], of the other good agents of tag, which are the last P of `others`."""
    signal: Floats
    """[N, 3]: the goal's colour for the speaker, the word heard (one-hot, or zeros) for the listener."""

    @property
    def prey(self) -> Floats:
        """Where the other good agents of tag are [N, P, 2]."""
        return self.others[:, self.others.shape[1] - self.prey_velocities.shape[1] :]


def look(task: Task, agent: str, observation: NDArray[Any]) -> View:
    """Takes an agent's observation [N, D] apart.

    Raises:
        EnvError: an unknown agent or an observation of another length.
    """
    size = task.observation_sizes.get(agent)
    if size is None:
        raise EnvError(f"{task.name} has no agent {agent!r}; it has {', '.join(task.agents)}")
    seen = np.asarray(observation, np.float64)
    if seen.ndim != 2 or seen.shape[1] != size:
        raise EnvError(
            f"{task.name}: an observation of {agent} is {list(seen.shape)}; it must be [N, {size}]"
        )
    nothing = np.zeros((len(seen), 0, 2))
    if isinstance(task, SpeakerListener):
        still = np.zeros((len(seen), 2))
        if agent == SPEAKER:
            return View(still, still, nothing, nothing, (), nothing, seen)
        return View(seen[:, :2], still, _points(seen[:, 2:8]), nothing, (), nothing, seen[:, 8:])
    names = tuple(a for a in task.agents if a != agent)
    marks = len(task.bodies.size) - len(task.agents)
    middle, end = 4 + 2 * marks, 4 + 2 * marks + 2 * len(names)
    # Spread ends in silence, tag in the velocities of the good agents.
    running = nothing if isinstance(task, Spread) else _points(seen[:, end:])
    return View(
        velocity=seen[:, :2],
        position=seen[:, 2:4],
        landmarks=_points(seen[:, 4:middle]),
        others=_points(seen[:, middle:end]),
        names=names,
        prey_velocities=running,
        signal=np.zeros((len(seen), 0)),
    )


def hunts(task: Tag, agent: str) -> bool:
    """Whether an agent of tag is an adversary."""
    return agent in task.adversaries


def _points(flat: Floats) -> Floats:
    return flat.reshape(len(flat), flat.shape[1] // 2, 2)
