"""simple_speaker_listener: one agent knows where to go and can only speak, the other can only go."""

from __future__ import annotations

import numpy as np

from understudy.envs.mpe.world import Bodies, Floats, Ints, Observations, World

COLOURS = ("red", "green", "blue")
"""Landmark i has colour i; the speaker's word i is read as that colour."""
SHADES: Floats = np.array([[0.65, 0.15, 0.15], [0.15, 0.65, 0.15], [0.15, 0.15, 0.65]])
"""The colours as the speaker sees them, red green blue."""
SPEAKER, LISTENER = "speaker_0", "listener_0"


class SpeakerListener:
    """mpe2's simple_speaker_listener_v4.

    The speaker sees the colour of the goal landmark (3) and says one of 3 words; the listener sees its
    own velocity 2, the landmarks 6, relative, and the last word 3 (zeros before the first), and
    moves. Both earn minus the squared distance of the listener to the goal.
    """

    name = "simple_speaker_listener"

    def __init__(self) -> None:
        self.agents: tuple[str, ...] = (SPEAKER, LISTENER)
        self.bodies = Bodies(
            size=np.array([0.075] * 2 + [0.04] * 3),
            collides=np.zeros(5, bool),
            moving=slice(1, 2),
            accel=np.array([5.0]),
            max_speed=np.array([np.inf]),
        )

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Length of each agent's observation."""
        return {SPEAKER: 3, LISTENER: 11}

    @property
    def action_sizes(self) -> dict[str, int]:
        """Number of each agent's actions."""
        return {SPEAKER: 3, LISTENER: 5}

    def begin(self, world: World, row: int, rng: np.random.Generator) -> None:
        """A goal landmark, then everything anywhere in the square of side 2."""
        world.goals[row] = rng.integers(3)
        world.words[row] = -1
        world.positions[row] = rng.uniform(-1, 1, (5, 2))
        world.velocities[row] = 0

    def act(self, world: World, actions: Ints) -> None:
        """One step; `actions` [N, 2]: the word, the move."""
        world.words[:] = actions[:, 0]
        world.push(actions[:, 1:])

    def observe(self, world: World) -> Observations:
        """What each agent sees [N, D]."""
        around = (world.positions[:, 2:] - world.positions[:, 1:2]).reshape(-1, 6)
        heard = np.arange(3) == world.words[:, None]
        listener = np.concatenate([world.velocities[:, 1], around, heard], 1, dtype=np.float32)
        return {SPEAKER: SHADES[world.goals].astype(np.float32), LISTENER: listener}

    def rewards(self, world: World) -> dict[str, Floats]:
        """What each agent earned in the last step [N]."""
        goal = world.positions[np.arange(len(world.goals)), 2 + world.goals]
        reward = -np.square(world.positions[:, 1] - goal).sum(1)
        return {SPEAKER: reward, LISTENER: reward.copy()}
