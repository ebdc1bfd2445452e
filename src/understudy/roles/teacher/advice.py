"""Teachers of a grid: plans turned into the probabilities of actions, for all rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from understudy.envs.grid.codes import ACTIONS
from understudy.envs.grid.scene import Scene as Maps, describe
from understudy.envs.grid.skills import actions
from understudy.roles.teacher.planner import BookPlanner, Options, Planner, Scene
from understudy.rollout.world import Floats, Observation


class PlanTeacher:
    """π_T(a | s) = Σ_k p_k [a is the first action of plan k] (arXiv 2311.13373, section 3)."""

    def __init__(self, planner: Planner, *, hard: bool = False, through_lava: bool = False) -> None:
        """With `hard`, the likeliest plan alone counts."""
        self.planner, self.hard, self.through_lava = planner, hard, through_lava
        self.texts: Counter[str] = Counter()
        """How often each text was met."""
        self.fallbacks = 0
        """How often a text was met for which the model gave no usable plan."""
        self._known: dict[str, Options] = {}

    def __call__(self, observation: Observation) -> Floats:
        """The teacher's action probabilities, float32 [R, A]."""
        maps = Maps.of(observation["image"])
        words = describe(maps, observation["mission"])
        scenes = {w.text: Scene(m, w) for w, m in zip(words, observation["mission"], strict=True)}
        self._ask([scene for text, scene in scenes.items() if text not in self._known])
        self._count([w.text for w in words])
        options = [self._known[w.text] for w in words]
        rows = np.repeat(np.arange(len(words)), [len(o) for o in options])
        plans = [plan for option in options for plan, _ in option]
        shares = np.array([p for option in options for _, p in option], np.float32)
        chosen = actions(maps.take(rows), plans, through_lava=self.through_lava)
        advice = np.zeros((len(words), len(ACTIONS)), np.float32)
        np.add.at(advice, (rows, chosen), shares)
        return advice

    def text_of(self, observation: Observation) -> list[str]:
        """Every row's scene in words."""
        maps = Maps.of(observation["image"])
        return [w.text for w in describe(maps, observation["mission"])]

    def _ask(self, scenes: Sequence[Scene]) -> None:
        if not scenes:
            return
        for scene, options in zip(scenes, self.planner.plans(scenes), strict=True):
            best = max(options, key=lambda option: option[1])
            self._known[scene.words.text] = ((best[0], 1.0),) if self.hard else options

    def _count(self, texts: Sequence[str]) -> None:
        self.texts.update(texts)
        if isinstance(self.planner, BookPlanner):
            self.fallbacks += sum(self.planner.is_fallback(text) for text in texts)
