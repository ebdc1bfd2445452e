"""Gradients of a model that no process holds whole while they are computed (FSDP2, arXiv 2304.11277).

Every process has a copy of which it keeps 1/k of each weight; a layer's weights come together as it is
passed and are dropped again, and gradients are scattered to where their weights are. The leader's
own model stays the one that is sampled, stepped and saved: its weights are handed out before a pass
and the gradients gathered one tensor at a time after it, as ZeRO-Offload (arXiv 2101.06840) keeps the
optimizer's state in the host's memory. So checkpoints are the plain loop's.

A pass is something that all do at once: a process without groups passes one with no weight.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import distribute_tensor

from understudy.lm.local import LocalLM
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.update import Anchor, Group, Sums, loss_of, merged, split
from understudy.run.workers import Follower, Leader, Member, Message, share


class Sharded:
    """A model's copy, divided among all processes."""

    def __init__(self, lm: LocalLM, member: Member, mesh: DeviceMesh) -> None:
        """`lm`: the whole model; on a follower it is divided itself, on the leader a copy is."""
        self.member = member
        model = copy.deepcopy(lm.model) if member.rank == 0 else lm.model
        self.lm = LocalLM(model, lm.tokenizer)
        # The own engine reads weights past the modules that bring them together.
        self.lm.slow_because = "its weights are divided among processes"
        for part in [*model.modules()]:
            if isinstance(part, torch.nn.ModuleList):
                for block in part:
                    fully_shard(block, mesh=mesh)
        # By default the outermost would stay whole after a pass without gradients, and then be stale.
        root = fully_shard(model, mesh=mesh, reshard_after_forward=True)
        for part in root.modules():
            if isinstance(part, FSDPModule):
                # Shares of a loss add up; they are no mean. And gloo can only add.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
        self.parameters: list[Any] = [*model.parameters()]

    def take(self, whole: Sequence[Tensor] | None) -> None:
        """Hands out the leader's weights; a follower gives None. Collective."""
        with self.member.together(), torch.no_grad():
            for i, mine in enumerate(self.parameters):
                full = torch.empty(mine.shape, dtype=mine.dtype) if whole is None else whole[i]
                parts = distribute_tensor(full.detach(), mine.device_mesh, mine.placements)
                mine.to_local().copy_(parts.to_local())

    def give(self, whole: Sequence[torch.nn.Parameter] | None) -> None:
        """Gathers gradients in the leader's parameters and forgets them here. Collective."""
        with self.member.together():
            for i, mine in enumerate(self.parameters):
                if mine.grad is not None:  # on all or on none, as all pass the same modules
                    full = mine.grad.full_tensor()
                    if whole is not None:
                        whole[i].grad = full
                    mine.grad = None


def mesh_of(member: Member) -> DeviceMesh:
    """All processes in a row."""
    with member.together():
        return init_device_mesh("cpu", (member.size,))


Passes = Sequence[tuple[Sequence[Group], float]]
"""The groups of each backward pass, and their weight: 1, or 0 where there are none left."""


def divided(groups: Sequence[Group], config: PolicyConfig, size: int) -> list[Passes]:
    """The passes of each process, as many for all."""
    plans = [split(share(groups, rank, size), config.accumulate) for rank in range(size)]
    most = max(len(plan) for plan in plans)
    spare = groups[:1], 0.0
    return [[*((part, 1.0) for part in plan), *[spare] * (most - len(plan))] for plan in plans]


def passed(
    lm: LocalLM,
    passes: Passes,
    config: PolicyConfig,
    anchors: Sequence[Anchor],
    denominator: float,
    member: Member,
) -> Sums:
    """Backward passes through divided models; metrics of those that count."""
    found: list[Sums] = []
    for groups, weight in passes:
        with member.together():
            loss, metrics = loss_of(lm, groups, config, anchors, denominator)
            (weight * loss).backward()
        found += [metrics] * bool(weight)
    return merged(found)


class ShardedHands:
    """The leader's side."""

    def __init__(self, leader: Leader, lm: LocalLM) -> None:
        self.leader, self.mesh = leader, mesh_of(leader)
        self.policy = Sharded(lm, leader, self.mesh)
        self.anchors: list[tuple[Anchor, Sharded]] = []

    def gradients(
        self,
        lm: Any,
        groups: Sequence[Group],
        config: PolicyConfig,
        anchors: Sequence[Anchor],
        denominator: float,
    ) -> Sums:
        """See `update.gradients`."""
        plans = divided(groups, config, self.leader.size)
        news = not self.anchors or config.loss.reference_every > 0
        jobs = [[[[asdict(g) for g in part], weight] for part, weight in plan] for plan in plans]
        common = {"denominator": denominator, "news": news}
        self.leader.order("gradients", [Message({**common, "passes": job}) for job in jobs[1:]])
        whole = [*lm.model.parameters()]
        self.policy.take(whole)
        if not self.anchors:
            self.anchors = [(a, Sharded(_local(a), self.leader, self.mesh)) for a in anchors]
        if news:
            for anchor, sharded in self.anchors:
                sharded.take([*_local(anchor).model.parameters()])
        held = [Anchor(s.lm, a.coef, a.name) for a, s in self.anchors]
        found = passed(self.policy.lm, plans[0], config, held, denominator, self.leader)
        self.policy.give(whole)
        return merged([found, *(reply.fields["sums"] for reply in self.leader.replies())])


def serve_sharded(
    config: PolicyConfig, follower: Follower, lm: LocalLM, anchors: Sequence[Anchor]
) -> None:
    """A follower's side."""
    mesh = mesh_of(follower)
    models = [_local(anchor) for anchor in anchors]
    policy = Sharded(lm, follower, mesh)
    held: list[Sharded] = []
    for _, order in follower.orders():
        job = order.fields
        policy.take(None)
        if not held:
            held = [Sharded(model, follower, mesh) for model in models]
        if job["news"]:
            for anchor in held:
                anchor.take(None)
        now = [Anchor(s.lm, a.coef, a.name) for a, s in zip(anchors, held, strict=True)]
        passes = [([Group(**g) for g in part], weight) for part, weight in job["passes"]]
        found = passed(policy.lm, passes, config, now, job["denominator"], follower)
        policy.give(None)
        follower.reply(Message({"sums": found}))


def _local(anchor: Anchor) -> LocalLM:
    assert isinstance(anchor.lm, LocalLM), "every anchor of a run is a local model"
    return anchor.lm
