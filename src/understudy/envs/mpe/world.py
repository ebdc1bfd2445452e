"""Point masses in the plane: N worlds of the same bodies, stepped together.

The physics is that of mpe2's `core.World`: positions move by the old velocity, velocities are damped,
then pushed by the agents' own force and by the soft contacts, then capped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Observations = dict[str, NDArray[np.float32]]

DT = 0.1
"""Seconds per step."""
DAMPING = 0.25
"""The part of a velocity that is lost in a step."""
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
"""How soft a contact is, in metres."""
PUSHES: Floats = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], np.float64)
"""Where each action of a moving agent pushes: nowhere, left, right, down, up."""


@dataclass(frozen=True)
class Bodies:
    """What the E bodies of a world are; agents come first, landmarks after them."""

    size: Floats
    """Radii [E]."""
    collides: NDArray[np.bool_]
    """Which bodies push each other on contact [E]."""
    moving: slice
    """The M bodies that move; the others stay where they are put."""
    accel: Floats
    """Force of each moving body's push [M] (masses are 1)."""
    max_speed: Floats
    """Speed limit of each moving body [M]; inf for none."""

    @cached_property
    def contacts(self) -> tuple[tuple[int, int], ...]:
        """The pairs of bodies that can push each other, at least one of them moving."""
        n = len(self.size)
        moving = range(n)[self.moving]
        return tuple(
            (a, b)
            for a in range(n)
            for b in range(a + 1, n)
            if self.collides[a] and self.collides[b] and (a in moving or b in moving)
        )

    @cached_property
    def limited(self) -> bool:
        """Whether any body has a speed limit."""
        return bool(np.isfinite(self.max_speed).any())


@dataclass
class World:
    """The state of N worlds; every array belongs to the world and is written in place."""

    bodies: Bodies
    positions: Floats
    """[N, E, 2]."""
    velocities: Floats
    """[N, E, 2]; zero for what does not move."""
    goals: Ints
    """The landmark each world is about [N]; -1 where the task has none."""
    words: Ints
    """The word said in the last step [N]; -1 for none."""

    @classmethod
    def empty(cls, bodies: Bodies, count: int) -> World:
        """`count` worlds with everything at the origin, at rest."""
        shape = (count, len(bodies.size), 2)
        return cls(bodies, np.zeros(shape), np.zeros(shape), np.full(count, -1), np.full(count, -1))

    def push(self, actions: Ints) -> None:
        """One step of physics; `actions` [N, M] index PUSHES."""
        bodies = self.bodies
        force = PUSHES[actions] * bodies.accel[:, None]
        self._add_contacts(force)
        velocity = self.velocities[:, bodies.moving]
        self.positions[:, bodies.moving] += velocity * DT
        velocity *= 1 - DAMPING
        velocity += force * DT
        if bodies.limited:
            speed = np.hypot(velocity[..., 0], velocity[..., 1])
            fast = speed > bodies.max_speed
            scale = np.divide(bodies.max_speed, speed, out=np.ones_like(speed), where=fast)
            velocity *= scale[..., None]

    def _add_contacts(self, force: Floats) -> None:
        """Adds to `force` [N, M, 2] what touching bodies do to each other (a softplus of overlap)."""
        pairs = self.bodies.contacts
        if not pairs:
            return
        first, second = np.array(pairs).T
        size = self.bodies.size
        delta = self.positions[:, first] - self.positions[:, second]
        distance = lengths(delta)
        gap = distance - (size[first] + size[second])
        push = CONTACT_FORCE * CONTACT_MARGIN * np.logaddexp(0, -gap / CONTACT_MARGIN)
        # Bodies in exactly the same place push nowhere: there is no direction to push in.
        push = np.divide(push, distance, out=np.zeros_like(push), where=distance > 0)
        contact = delta * push[..., None]
        count = len(self.bodies.size)
        moving = range(count)[self.bodies.moving]
        for pair, (a, b) in enumerate(pairs):
            if a in moving:
                force[:, a - moving.start] += contact[:, pair]
            if b in moving:
                force[:, b - moving.start] -= contact[:, pair]


class Task(Protocol):
    """One MPE task: its bodies, how a world begins, what agents see and what they earn."""

    name: str
    agents: tuple[str, ...]
    bodies: Bodies

    @property
    def observation_sizes(self) -> Mapping[str, int]:
        """Length of each agent's observation."""
        ...

    @property
    def action_sizes(self) -> Mapping[str, int]:
        """Number of each agent's actions."""
        ...

    def begin(self, world: World, row: int, rng: np.random.Generator) -> None:
        """Puts world `row` at the start of an episode, drawn as mpe2 draws it from the same generator."""
        ...

    def act(self, world: World, actions: Ints) -> None:
        """One step; `actions` [N, agents]."""
        ...

    def observe(self, world: World) -> Observations:
        """What each agent sees [N, D]."""
        ...

    def rewards(self, world: World) -> dict[str, Floats]:
        """What each agent earned in the last step [N]."""
        ...


def lengths(vectors: Floats) -> Floats:
    """Euclidean lengths of [..., 2]."""
    return np.sqrt(np.square(vectors[..., 0]) + np.square(vectors[..., 1]))


def relative(positions: Floats, agents: int) -> Floats:
    """Where everything is as seen by each of the first A bodies [A, N, E-1, 2]: landmarks, then others."""
    bodies = positions.shape[1]
    seen = np.array(
        [[*range(agents, bodies), *(b for b in range(agents) if b != a)] for a in range(agents)]
    )
    moved = positions.transpose(1, 0, 2)
    return moved[seen].transpose(0, 2, 1, 3) - moved[:agents, :, None]
