"""The student: a small actor-critic over features of a world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from understudy.envs.grid.codes import BALL, BOX, CLOSED, DIRECTIONS, DOOR, KEY, LOCKED, NOBODY
from understudy.rollout.world import MISSION_BUCKETS, Features

_KINDS = 16
"""Object types, with closed and locked doors as types of their own."""
_COLOURS = 6


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the student makes of some rows."""

    logits: Tensor
    """[…, A]"""
    values: Tensor
    """[…]"""
    hidden: Tensor
    """The memory after it, [rows, D]; D is 0 without one."""


class Encoder(Protocol):
    """Features to a vector; `size` wide."""

    size: int

    def __call__(self, features: Features) -> Tensor: ...


class MapEncoder(nn.Module):
    """The remembered map around the agent, turned so that the agent looks ahead.

    Every cell that was ever seen adds a learnt vector for (place relative to the agent, what lies
    there) and one for (place, colour): a linear layer over the one-hot map, at the cost of what is
    known and not of the map's size.
    """

    def __init__(self, width: int, height: int, size: int = 128, *, mission: bool = False) -> None:
        """For maps of width × height cells."""
        super().__init__()
        self.size = size
        self.reach = max(width, height) - 1
        places = (2 * self.reach + 1) ** 2
        self.kinds = nn.Parameter(torch.empty(places * _KINDS, size))
        self.colours = nn.Parameter(torch.zeros(places * _COLOURS, size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.mission = nn.Linear(MISSION_BUCKETS, size, bias=False) if mission else None
        ahead = torch.from_numpy(DIRECTIONS)
        self.register_buffer("ahead", ahead, persistent=False)

    def forward(self, features: Features) -> Tensor:
        """[B, W, H, 4] to [B, size]."""
        image = features["image"].long()
        batch, width, height, _ = image.shape
        flat = image.reshape(batch, width * height, 4)
        agent = (flat[..., 3] != NOBODY).to(torch.uint8).argmax(1)
        direction = flat[torch.arange(batch), agent, 3]
        row, cell = torch.nonzero(flat[..., 0], as_tuple=True)
        kind, colour, state = flat[row, cell, :3].unbind(-1)
        dx, dy = cell // height - (agent // height)[row], cell % height - (agent % height)[row]
        facing = self.ahead[direction][row]
        # Ahead is the direction's vector, right of it the same turned by a quarter.
        ahead = dx * facing[:, 0] + dy * facing[:, 1]
        right = dy * facing[:, 0] - dx * facing[:, 1]
        place = (ahead + self.reach) * (2 * self.reach + 1) + right + self.reach
        kind = torch.where(kind == DOOR, torch.where(state == 0, kind, 10 + state), kind)
        thing = (kind == KEY) | (kind == BALL) | (kind == BOX) | (kind == DOOR) | (kind > 10)
        out = self.bias + _sum(self.kinds, place * _KINDS + kind, row, batch)
        out = out + _sum(
            self.colours, (place * _COLOURS + colour)[thing], row[thing], batch
        )
        if self.mission is not None:
            out = out + self.mission(features["mission"].float())
        return torch.relu(out)


def _sum(table: Tensor, index: Tensor, row: Tensor, batch: int) -> Tensor:
    """Sums of the table's rows `index`, by `row`, which does not decrease; [batch, D]."""
    starts = torch.searchsorted(row, torch.arange(batch))
    return nn.functional.embedding_bag(index, table, starts, mode="sum")


assert (CLOSED, LOCKED) == (1, 2)


class PaperEncoder(nn.Module):
    """The map as LLM4Teach's student reads it: raw codes, seen from above, three convolutions."""

    def __init__(self, width: int, height: int, size: int = 64) -> None:
        """For maps of width × height cells."""
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        for into, out in ((4, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * width * height, size), nn.ReLU())

    def forward(self, features: Features) -> Tensor:
        """[B, W, H, 4] to [B, size]."""
        return self.net(features["image"].float().permute(0, 3, 1, 2))


class Student(nn.Module):
    """Actor and critic, each with an encoder of its own or one for both; a GRU if `recurrent`."""

    def __init__(self, encoder: nn.Module, actions: int, *, width: int = 128, recurrent: bool = False) -> None:
        """`encoder` has a `size`."""
        super().__init__()
        self.encoder = encoder
        size = int(encoder.size)
        self.memory = nn.GRUCell(size, size) if recurrent else None
        self.actor = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, actions))
        self.critic = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 1))

    @property
    def recurrent(self) -> bool:
        """Whether it has a memory."""
        return self.memory is not None

    def start(self, rows: int) -> Tensor:
        """An empty memory, [rows, D]."""
        return torch.zeros(rows, self.memory.hidden_size if self.memory else 0)

    def forward(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """One step: features [R, …], memory [R, D], `starts` True where an episode begins [R]."""
        x = self.encoder(features)
        if self.memory is not None:
            hidden = x = self.memory(x, torch.where(starts[:, None], 0.0, hidden))
        return Outlook(self.actor(x), self.critic(x)[..., 0], hidden)

    def unroll(self, features: Features, hidden: Tensor, starts: Tensor) -> Outlook:
        """T steps: features [T, R, …], memory before them [R, D], starts [T, R]; outputs [T, R]."""
        steps, rows = starts.shape
        x = self.encoder({k: v.flatten(0, 1) for k, v in features.items()}).unflatten(0, (steps, rows))
        if self.memory is not None:
            memories: list[Tensor] = []
            for t in range(steps):
                hidden = self.memory(x[t], torch.where(starts[t, :, None], 0.0, hidden))
                memories.append(hidden)
            x = torch.stack(memories)
        return Outlook(self.actor(x), self.critic(x)[..., 0], hidden)


def initialise(module: nn.Module, rng: np.random.Generator) -> None:
    """Orthogonal weights from `rng`, zero biases; a policy that begins all but uniform."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    for name, parameter in module.named_parameters():
        if name.endswith(("kinds", "colours")):
            nn.init.normal_(parameter, std=0.05, generator=generator)
        elif parameter.dim() < 2:
            nn.init.zeros_(parameter)
        else:
            gain = 0.01 if name.startswith("actor") and parameter.shape[0] < 10 else 2**0.5
            nn.init.orthogonal_(parameter.flatten(1), gain, generator=generator)
