"""The student: a small actor-critic over features of a world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from understudy.rollout.world import MISSION_BUCKETS, Features

ILLEGAL = -1e9
"""Logit of an action that a row lacks: as good as −∞, without its 0 · ∞."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the student makes of some rows."""

    logits: Tensor
    """[…, A]"""
    values: Tensor
    """[…]"""
    hidden: Tensor
    """The memory after it, [rows, D]; D is 0 without one."""


class Encoder(nn.Module):
    """Features to a vector per row."""

    size: int
    """Width of the vector."""


class MapEncoder(Encoder):
    """The remembered map as the agent has it before its eyes (`envs.grid.egocentric`).

    Every entry adds a learnt vector: a linear layer over the one-hot map, at the cost of what is
    known and not of the map's size.
    """

    def __init__(self, vocabulary: int, size: int = 128, *, mission: bool = False) -> None:
        """For entries below `vocabulary`."""
        super().__init__()
        self.size = size
        self.table = nn.Parameter(torch.empty(vocabulary, size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.mission = nn.Linear(MISSION_BUCKETS, size, bias=False) if mission else None

    def forward(self, features: Features) -> Tensor:
        """Entries [B, E] to [B, size]."""
        entries = features["entries"]
        there = entries != 0
        ends = there.sum(1).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        known = entries[there].long()
        out = self.bias + nn.functional.embedding_bag(known, self.table, starts, mode="sum")
        if self.mission is not None:
            out = out + self.mission(features["mission"].float())
        return torch.relu(out)


class PaperEncoder(Encoder):
    """The map as LLM4Teach's student reads it: raw codes, seen from above, three convolutions."""

    def __init__(self, width: int, height: int, size: int = 64) -> None:
        """For maps of width × height cells."""
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        for into, out in ((4, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(64 * width * height, size), nn.ReLU()
        )

    def forward(self, features: Features) -> Tensor:
        """[B, W, H, 4] to [B, size]."""
        return self.net(features["image"].float().permute(0, 3, 1, 2))


class VectorEncoder(Encoder):
    """A linear layer over one of the features that are vectors."""

    def __init__(self, feature: str, width: int, size: int) -> None:
        """`feature` is `width` wide."""
        super().__init__()
        self.feature, self.size = feature, size
        self.net = nn.Sequential(nn.Linear(width, size), nn.ReLU())

    def forward(self, features: Features) -> Tensor:
        """[B, width] to [B, size]."""
        return self.net(features[self.feature])


class Student(nn.Module):
    """Actor and critic over one encoder, or each over its own; with a GRU if `recurrent`.

    A critic with its own encoder may see more than the actor (MAPPO, arXiv 2103.01955).
    """

    def __init__(
        self,
        encoder: Encoder,
        actions: int,
        *,
        width: int = 128,
        recurrent: bool = False,
        critic_encoder: Encoder | None = None,
    ) -> None:
        """The memory follows the actor's encoder."""
        super().__init__()
        size = encoder.size
        seen = size if critic_encoder is None else critic_encoder.size
        self.encoder, self.critic_encoder = encoder, critic_encoder
        self.memory = nn.GRUCell(size, size) if recurrent else None
        self.actor = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, actions))
        self.critic = nn.Sequential(nn.Linear(seen, width), nn.ReLU(), nn.Linear(width, 1))

    @property
    def recurrent(self) -> bool:
        """Whether it has a memory."""
        return self.memory is not None

    def start(self, rows: int) -> Tensor:
        """An empty memory, [rows, D], on the student's device; D is 0 without one."""
        return next(self.parameters()).new_zeros(
            rows, self.memory.hidden_size if self.memory else 0
        )

    def forward(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """One step: features [R, …], memory [R, D], `starts` True where an episode begins [R]."""
        outlook = self.unroll({k: v[None] for k, v in features.items()}, hidden, starts[None])
        return Outlook(outlook.logits[0], outlook.values[0], outlook.hidden)

    def unroll(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """T steps: features [T, R, …], memory before them [R, D], starts [T, R]; outputs [T, R]."""
        flat = {name: value.flatten(0, 1) for name, value in features.items()}
        x = self.encoder(flat)
        if self.memory is not None:
            x, hidden = self._remember(x.unflatten(0, starts.shape), hidden, starts)
        seen = x if self.critic_encoder is None else self.critic_encoder(flat)
        logits = self.actor(x)
        if "illegal" in flat:
            logits = logits.masked_fill(flat["illegal"], ILLEGAL)
        values = self.critic(seen)[..., 0]
        return Outlook(logits.unflatten(0, starts.shape), values.unflatten(0, starts.shape), hidden)

    def _remember(self, x: Tensor, hidden: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """The memory after each step, [T · R, D], and the last [R, D]; empty where one begins."""
        assert self.memory is not None
        memories: list[Tensor] = []
        for now, begins in zip(x, starts, strict=True):
            hidden = self.memory(now, torch.where(begins[:, None], 0.0, hidden))
            memories.append(hidden)
        return torch.cat(memories), hidden


class Team(nn.Module):
    """One student per agent, behind the interface of one: actors that share nothing."""

    def __init__(self, students: Sequence[Student]) -> None:
        """In the order of the agents' numbers."""
        super().__init__()
        self.students = nn.ModuleList(students)

    @property
    def recurrent(self) -> bool:
        """Whether they have a memory."""
        return self._of(0).recurrent

    def start(self, rows: int) -> Tensor:
        """An empty memory, [rows, D]."""
        return self._of(0).start(rows)

    def forward(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """See `Student`."""
        outlook = self.unroll({k: v[None] for k, v in features.items()}, hidden, starts[None])
        return Outlook(outlook.logits[0], outlook.values[0], outlook.hidden)

    def unroll(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """See `Student`; every column of a batch is one agent's, or T is 1."""
        logits = values = None
        after = hidden.clone()
        agents = features["agent"][0]
        for number in range(len(self.students)):
            rows = torch.nonzero(agents == number)[:, 0]
            some = {name: value[:, rows] for name, value in features.items()}
            mine = self._of(number).unroll(some, hidden[rows], starts[:, rows])
            if logits is None or values is None:
                logits = mine.logits.new_zeros(*starts.shape, mine.logits.shape[-1])
                values = mine.values.new_zeros(starts.shape)
            logits = logits.index_copy(1, rows, mine.logits)
            values = values.index_copy(1, rows, mine.values)
            after = after.index_copy(0, rows, mine.hidden)
        assert logits is not None
        assert values is not None
        return Outlook(logits, values, after)

    def _of(self, number: int) -> Student:
        student = self.students[number]
        assert isinstance(student, Student)
        return student


def initialise(module: nn.Module, rng: np.random.Generator) -> None:
    """Orthogonal weights from `rng`, zero biases; a policy that begins all but uniform."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    last = {id(m.actor[-1].weight) for m in module.modules() if isinstance(m, Student)}
    for name, parameter in module.named_parameters():
        if name.endswith("table"):
            nn.init.normal_(parameter, std=0.05, generator=generator)
        elif parameter.dim() < 2:
            nn.init.zeros_(parameter)
        else:
            gain = 0.01 if id(parameter) in last else 2**0.5
            nn.init.orthogonal_(parameter, gain, generator=generator)
