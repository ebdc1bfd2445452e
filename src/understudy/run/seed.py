"""Randomness by name: one root seed, an independent stream for every component.

A stream depends on the root seed and its names only, not on how many streams were asked for
before, so a component can be added without moving the others.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


class Seeds:
    """Streams of randomness below one root seed, each found by its names."""

    def __init__(self, root: int) -> None:
        """`root` is ≥ 0; ValueError otherwise."""
        if root < 0:
            raise ValueError(f"a seed must be ≥ 0, not {root}")
        self.root = root

    def sequence(self, *names: str | int) -> np.random.SeedSequence:
        """The seed sequence of `names`, as in `sequence("rollout", step, row)`."""
        if not names:
            raise ValueError("a stream of randomness needs a name")
        digest = hashlib.sha256(json.dumps(names).encode()).digest()
        return np.random.SeedSequence(
            self.root, spawn_key=tuple(np.frombuffer(digest, "<u4").tolist())
        )

    def generator(self, *names: str | int) -> np.random.Generator:
        """A fresh generator (PCG64) at the start of the stream of `names`."""
        return np.random.Generator(np.random.PCG64(self.sequence(*names)))

    def integer(self, *names: str | int) -> int:
        """One seed, 0 ≤ seed < 2**63, for what takes an integer."""
        return int(self.sequence(*names).generate_state(1, np.uint64)[0] >> np.uint64(1))
