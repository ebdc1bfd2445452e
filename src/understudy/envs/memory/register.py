"""Makes the memory tasks known to Gymnasium; importing this module registers them."""

from __future__ import annotations

import gymnasium

IDS = {
    "understudy/TMaze-v0": ("tmaze:TMaze", 40),
    "understudy/MemoryRoom-v0": ("room:MemoryRoom", 245),
}
"""Gymnasium's id → where the class is, and the longest episode."""


def register() -> None:
    """Registers `IDS`; a second time changes nothing."""
    for name, (target, limit) in IDS.items():
        if name not in gymnasium.registry:
            entry = f"understudy.envs.memory.{target}"
            gymnasium.register(name, entry_point=entry, max_episode_steps=limit)


register()
