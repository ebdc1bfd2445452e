"""Gymnasium's classic control tasks, many episodes at once in plain numpy.

Each class repeats the arithmetic of Gymnasium's own class operation by operation, kind by kind of
number, so that a batch gives the returns that the single environments give (tested). Only what is
played is here: no rendering, no options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

Array = NDArray[Any]
Step = tuple[Array, Array, Array]
"""Observations [N, ...], rewards [N] and whether the episode ended by itself [N]."""


class Batch(Protocol):
    """N episodes that are stepped together."""

    def reset(self, seeds: Sequence[int], episode: Array) -> Array:
        """Starts row i with seeds[episode[i]]; returns the first observations [N, ...]."""
        ...

    def step(self, actions: Array) -> Step:
        """Steps every row."""
        ...

    def keep(self, rows: Array) -> None:
        """Drops all rows but these (a mask [N])."""
        ...


class Classic(ABC):
    """What the classic tasks share: a state [N, D]."""

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    size: int | None = None

    def __init__(self) -> None:
        self.state = np.zeros((0, 0))

    def reset(self, seeds: Sequence[int], episode: Array) -> Array:
        """Uniform in [low, high], from a generator of each seed's own."""
        drawn = [
            np_random(seed)[0].uniform(low=self.low, high=self.high, size=self.size)
            for seed in seeds
        ]
        self.state = self.first(np.asarray(drawn))[episode]
        return self.observe()

    def first(self, drawn: Array) -> Array:
        """States from what was drawn."""
        return drawn

    @abstractmethod
    def step(self, actions: Array) -> Step:
        """Steps every row."""

    def observe(self) -> Array:
        """float32, [N, …]."""
        return self.state.astype(np.float32)

    def keep(self, rows: Array) -> None:
        """Drops all rows but these."""
        self.state = self.state[rows]


class CartPole(Classic):
    """CartPole-v1."""

    low, high, size = -0.05, 0.05, 4

    def step(self, actions: Array) -> Step:
        """Actions [N] in {0, 1}."""
        x, speed, angle, spin = self.state.T
        force = np.where(actions == 1, 10.0, -10.0)
        cosine, sine = np.cos(angle), np.sin(angle)
        temp = (force + 0.05 * np.square(spin) * sine) / 1.1
        turn = (9.8 * sine - cosine * temp) / (0.5 * (4.0 / 3.0 - 0.1 * np.square(cosine) / 1.1))
        push = temp - 0.05 * turn * cosine / 1.1
        x, speed = x + 0.02 * speed, speed + 0.02 * push
        angle, spin = angle + 0.02 * spin, spin + 0.02 * turn
        self.state = np.stack((x, speed, angle, spin), axis=1)
        limit = 12 * 2 * np.pi / 360
        fallen = (np.abs(x) > 2.4) | (np.abs(angle) > limit)
        return self.observe(), np.ones(len(x)), fallen


class MountainCar(Classic):
    """MountainCar-v0."""

    low, high = -0.6, -0.4

    def first(self, drawn: Array) -> Array:
        """At rest."""
        return np.stack((drawn, np.zeros_like(drawn)), axis=1)

    def step(self, actions: Array) -> Step:
        """Actions [N] in {0, 1, 2}."""
        position, velocity = self.state.T
        velocity = velocity + ((actions - 1) * 0.001 + np.cos(3 * position) * -0.0025)
        velocity = np.clip(velocity, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        self.state = np.stack((position, velocity), axis=1)
        reached = (position >= 0.5) & (velocity >= 0)
        return self.observe(), np.full(len(position), -1.0), reached


class MountainCarContinuous(MountainCar):
    """MountainCarContinuous-v0; after the first step its state is of single precision."""

    def step(self, actions: Array) -> Step:
        """Actions [N, 1] of float32."""
        position, velocity = self.state.T
        kind = self.state.dtype
        pull = 0.0025 * np.cos((3 * position).astype(np.float64))
        # A force that is cut to ±1 is a Python float, any other a float32: they round differently.
        force = actions[:, 0]
        inside = force * np.float32(0.0015) - pull.astype(np.float32)
        cut = np.clip(force, -1.0, 1.0).astype(np.float64) * 0.0015 - pull
        gain = np.where(np.abs(force) > 1.0, cut.astype(kind), inside.astype(kind))
        velocity = np.clip((velocity + gain).astype(np.float64), -0.07, 0.07)
        position = (position + velocity.astype(kind)).astype(np.float64)
        position = np.clip(position, -1.2, 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        reached = (position.astype(kind) >= kind.type(0.45)) & (velocity >= 0)
        self.state = np.stack((position, velocity), axis=1).astype(np.float32)
        cost = np.float_power(force.astype(np.float64), 2) * 0.1
        return self.state, np.where(reached, 100.0, 0.0) - cost, reached


class Pendulum(Classic):
    """Pendulum-v1."""

    low, high = (-np.pi, -1.0), (np.pi, 1.0)

    def step(self, actions: Array) -> Step:
        """Actions [N, 1] of float32."""
        angle, spin = self.state.T
        torque = np.clip(actions[:, 0], -2.0, 2.0)
        wrapped = ((angle + np.pi) % (2 * np.pi)) - np.pi
        cost = (
            np.float_power(wrapped, 2) + 0.1 * np.float_power(spin, 2) + 0.001 * np.square(torque)
        )
        spin = spin + (3 * 10.0 / 2.0 * np.sin(angle) + 3.0 * torque) * 0.05
        spin = np.clip(spin, -8.0, 8.0)
        self.state = np.stack((angle + spin * 0.05, spin), axis=1)
        return self.observe(), -cost, np.zeros(len(angle), bool)

    def observe(self) -> Array:
        """Cosine and sine of the angle, and the speed."""
        angle, spin = self.state.T
        return np.stack((np.cos(angle), np.sin(angle), spin), axis=1).astype(np.float32)


class Acrobot(Classic):
    """Acrobot-v1."""

    low, high, size = -0.1, 0.1, 4

    def first(self, drawn: Array) -> Array:
        """Rounded to single precision, as Gymnasium does."""
        return drawn.astype(np.float32)

    def step(self, actions: Array) -> Step:
        """Actions [N] in {0, 1, 2}; one Runge-Kutta step of 0.2 s."""
        torque = actions - 1.0
        y, half = self.state.T.astype(np.float64), 0.2 / 2.0
        k1 = _acrobot(y, torque)
        k2 = _acrobot(y + half * k1, torque)
        k3 = _acrobot(y + half * k2, torque)
        k4 = _acrobot(y + 0.2 * k3, torque)
        y = y + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        for angle in y[:2]:
            while (np.abs(angle) > np.pi).any():
                angle[angle > np.pi] -= 2 * np.pi
                angle[angle < -np.pi] += 2 * np.pi
        y[2] = np.clip(y[2], -4 * np.pi, 4 * np.pi)
        y[3] = np.clip(y[3], -9 * np.pi, 9 * np.pi)
        self.state = y.T
        swung = -np.cos(y[0]) - np.cos(y[1] + y[0]) > 1.0
        return self.observe(), np.where(swung, 0.0, -1.0), swung

    def observe(self) -> Array:
        """Cosine and sine of both angles, and both speeds."""
        first, second = self.state[:, 0], self.state[:, 1]
        turns = [np.cos(first), np.sin(first), np.cos(second), np.sin(second)]
        return np.stack([*turns, *self.state[:, 2:].T], axis=1).astype(np.float32)


def _acrobot(state: Array, torque: Array) -> Array:
    """Time derivative of (angles, speeds), [4, N]; masses, lengths and moments are all 1 or ½."""
    angle1, angle2, spin1, spin2 = state
    g, square = 9.8, np.float_power
    d1 = 0.5**2 + (1.0 + 0.5**2 + 2 * 0.5 * np.cos(angle2)) + 1.0 + 1.0
    d2 = (0.5**2 + 0.5 * np.cos(angle2)) + 1.0
    phi2 = 0.5 * g * np.cos(angle1 + angle2 - np.pi / 2.0)
    phi1 = (
        -0.5 * square(spin2, 2) * np.sin(angle2)
        - 2 * 0.5 * spin2 * spin1 * np.sin(angle2)
        + (0.5 + 1.0) * g * np.cos(angle1 - np.pi / 2)
        + phi2
    )
    pull = torque + d2 / d1 * phi1 - 0.5 * square(spin1, 2) * np.sin(angle2) - phi2
    turn2 = pull / (0.5**2 + 1.0 - square(d2, 2) / d1)
    turn1 = -(d2 * turn2 + phi1) / d1
    return np.stack((spin1, spin2, turn1, turn2))


CLASSIC: dict[str, type[Classic]] = {
    "CartPole-v1": CartPole,
    "MountainCar-v0": MountainCar,
    "MountainCarContinuous-v0": MountainCarContinuous,
    "Pendulum-v1": Pendulum,
    "Acrobot-v1": Acrobot,
}
