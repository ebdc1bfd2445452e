"""What happened, to be dreamt of again: a ring of steps per environment.

Sequences start anywhere, uniformly, and may run over the end of an episode into the next. As in
DreamerV3 (Nature), every new sequence is queued to be drawn once soon (`online`), and each step keeps
the state the core had before it (`context`), which is where a sequence that starts there starts from;
after an update the states of the drawn steps are replaced by the newer ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.roles.world_model.spaces import Key
from understudy.run.errors import RunError

Array = np.ndarray[Any, Any]
Record = Mapping[str, Array]
"""One step: every key, `action` [A], `reward`, `is_first`, `is_last`, `is_terminal`, `context` [n]."""
FLAGS = ("is_first", "is_last", "is_terminal")
CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where the sequences of a batch are: to give them their new context."""

    rows: Array
    """[B] environments."""
    starts: Array
    """[B] steps, counted from each environment's first."""


class Replay:
    """At most `capacity` steps, of `envs` environments alike."""

    def __init__(
        self,
        keys: Sequence[Key],
        actions: int,
        *,
        envs: int,
        capacity: int,
        length: int,
        context: int = 0,
        before: int = 0,
        online: bool = True,
    ) -> None:
        """Memory is taken as it fills.

        Args:
            keys: of observations.
            actions: features of an action.
            envs: environments.
            capacity: steps in all.
            length: of sequences.
            context: features of a step's stored state; 0 keeps none.
            before: steps drawn in front of every sequence, for a core that makes its state of them.
            online: whether new sequences are drawn once, first.
        """
        self.fields: dict[str, tuple[tuple[int, ...], str]] = {
            **{key.name: (key.shape, key.dtype) for key in keys},
            "action": ((actions,), "float32"),
            "reward": ((), "float32"),
            **dict.fromkeys(FLAGS, ((), "bool")),
        }
        self.words = [key for key in keys if key.kind == "token"]
        if context:
            self.fields[CONTEXT] = ((context,), "float32")
        self.envs, self.length, self.before = envs, length, before
        self.room, self.online = capacity // envs, online
        self.count = 0
        """Steps ever added, by each environment alike."""
        self.queue: list[tuple[int, int]] = []
        self.data: dict[str, Array] = {}
        self._grow(min(self.room, 1024))

    def _grow(self, room: int) -> None:
        for name, (shape, dtype) in self.fields.items():
            larger = np.zeros((room, self.envs, *shape), dtype)
            if name in self.data:
                larger[: len(self.data[name])] = self.data[name]
            self.data[name] = larger

    @property
    def kept(self) -> int:
        """Steps each environment has now."""
        return min(self.count, self.room)

    @property
    def ready(self) -> bool:
        """Whether there is a sequence to draw."""
        return self.kept >= self.length

    def add(self, records: Mapping[str, Array]) -> None:
        """One step of every environment, [envs, …] each."""
        have = len(self.data["reward"])
        if self.count >= have and have < self.room:
            self._grow(min(self.room, 2 * have))
        place = self.count % self.room
        for name, values in records.items():
            self.data[name][place] = values
        self.count += 1
        if self.online and self.count % self.length == 0:
            self.queue += [(row, self.count - self.length) for row in range(self.envs)]

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[dict[str, Tensor], Drawn]:
        """`batch` sequences of `before` + `length` steps: [B, T, …] each.

        What would lie before the oldest step repeats it, marked as an episode's first, so that
        nothing of it passes on.

        Raises:
            RunError: too few steps yet.
        """
        if not self.ready:
            raise RunError(f"replay: {self.kept} steps hold no sequence of {self.length}")
        oldest, latest = self.count - self.kept, self.count - self.length
        fresh = [place for place in self.queue if place[1] >= oldest][:batch]
        self.queue = [place for place in self.queue if place[1] >= oldest][len(fresh) :]
        more = batch - len(fresh)
        rows = np.array([p[0] for p in fresh] + rng.integers(self.envs, size=more).tolist())
        at = [p[1] for p in fresh] + rng.integers(oldest, latest + 1, size=more).tolist()
        starts = np.array(at)
        steps = starts[:, None] + np.arange(-self.before, self.length)
        places = np.maximum(steps, oldest) % self.room
        found = {
            name: torch.from_numpy(values[places, rows[:, None]])
            for name, values in self.data.items()
            if name != CONTEXT
        }
        found["is_first"] |= torch.from_numpy(steps < oldest)
        if CONTEXT in self.data:
            found[CONTEXT] = torch.from_numpy(self.data[CONTEXT][starts % self.room, rows])
        return found, Drawn(rows, starts)

    def refresh(self, drawn: Drawn, states: Tensor) -> None:
        """Replaces the stored states of steps 1, 2, … of the sequences by states [B, ≤ T, n]."""
        values = states.cpu().numpy()
        steps = drawn.starts[:, None] + np.arange(1, values.shape[1] + 1)
        kept = steps < self.count
        rows = np.broadcast_to(drawn.rows[:, None], steps.shape)
        self.data[CONTEXT][steps[kept] % self.room, rows[kept]] = values[kept]

    def unigram(self) -> dict[str, float]:
        """Entropy, in nats, of the words kept: what predicts them by their frequency alone pays."""
        found: dict[str, float] = {}
        for key in self.words:
            words = self.data[key.name][: self.kept].ravel()
            shares = np.bincount(words, minlength=key.classes) / words.size
            found[key.name] = float(-sum(p * np.log(p) for p in shares if p > 0))
        return found

    def get_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, as tensors and JSON."""
        tensors = {name: torch.from_numpy(v[: self.kept].copy()) for name, v in self.data.items()}
        return tensors, {"count": self.count, "queue": [list(place) for place in self.queue]}

    def set_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Back to what `get_state` took."""
        self.count = int(state["count"])
        self.queue = [(int(row), int(start)) for row, start in state["queue"]]
        room = min(self.room, 1024)
        while room < self.kept:
            room = min(self.room, 2 * room)
        self.data = {}
        self._grow(room)
        for name, tensor in tensors.items():
            self.data[name][: self.kept] = tensor.numpy()
