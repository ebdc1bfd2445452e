"""The policy's loop with its work divided among processes: who plays, and whose gradients are summed.

The leader runs `train` as it is, with another `play` and another `gradients`. Both send the present
weights to the followers; every process then plays its share of the problems, with the noise that
those rows have in any case, or adds up the gradient of its share of the groups' part of the loss,
whose denominator is the whole batch's. Rewards, advantages, judges, optimizer and checkpoints are the
leader's alone, so a run may go on with another number of workers.

With `config.shard` the weights are divided as well, see `sharded`.

A follower opens the models that the configuration names, so `lm` must be the one that it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor

from understudy.data.store import from_row
from understudy.envs.base import Task
from understudy.envs.text_env import TextEnv
from understudy.lm.base import ChoiceLM, Sampling
from understudy.lm.local import LocalLM
from understudy.lm.open import open_token_lm
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.credit import token_advantages
from understudy.roles.policy.setup import Setting, setting_of
from understudy.roles.policy.sharded import ShardedHands, serve_sharded
from understudy.roles.policy.train import Advantages, anchors_of, train
from understudy.roles.policy.update import Anchor, Group, Sums, gradients, merged
from understudy.rollout.collect import collect
from understudy.rollout.evaluate import Evaluation
from understudy.rollout.prompting import Prompt
from understudy.run.run import Run
from understudy.run.workers import Follower, Leader, Message, crew, share
from understudy.types import Episode


def train_ddp(
    config: PolicyConfig,
    run: Run,
    *,
    lm: LocalLM,
    setting: Setting,
    judge: ChoiceLM | None = None,
    teacher: LocalLM | None = None,
    advantages: Advantages = token_advantages,
) -> dict[str, Evaluation]:
    """`train` in `config.workers` processes; the same weights, up to rounding.

    Raises:
        RunError: a worker failed or died.
    """
    with crew(serve, config, config.workers) as leader:
        loop = partial(
            train, config, run, lm=lm, setting=setting, judge=judge, teacher=teacher,
            advantages=advantages,
        )  # fmt: skip
        if config.shard:
            return loop(gradients=ShardedHands(leader, lm).gradients)
        hands = _Hands(leader, setting)
        return loop(play=hands.play, gradients=hands.gradients)


class _Hands:
    """The leader's side."""

    def __init__(self, leader: Leader, setting: Setting) -> None:
        self.leader, self.setting = leader, setting
        self.known = False
        """Whether the followers have the reference."""

    def play(
        self,
        lm: LocalLM,
        envs: Sequence[TextEnv],
        indices: Sequence[int],
        *,
        prompt: Prompt,
        sampling: Sampling,
        copies: int = 1,
        row_keys: Sequence[int] | None = None,
    ) -> list[list[Episode]]:
        """See `collect`."""
        keys = range(len(envs)) if row_keys is None else row_keys
        split = next(n for n, task in _splits(self.setting).items() if task is envs[0].task)
        common = {"split": split, "sampling": asdict(sampling), "copies": copies}
        jobs: list[dict[str, Any]] = []
        for rank in range(self.leader.size):
            some = share(range(len(indices)), rank, self.leader.size)
            rows = [u * copies + g for u in some for g in range(copies)]
            mine = {"indices": [indices[u] for u in some], "row_keys": [keys[r] for r in rows]}
            jobs.append({**common, **mine})
        self.leader.order("play", [Message(job) for job in jobs[1:]])
        self.leader.spread(lm.parameters())
        played = collect(
            lm, envs[: len(jobs[0]["row_keys"])], jobs[0]["indices"], prompt=prompt,
            sampling=sampling, copies=copies, row_keys=jobs[0]["row_keys"],
        )  # fmt: skip
        for reply in self.leader.replies():
            played += [[from_row(row) for row in group] for group in reply.fields["episodes"]]
        return played

    def gradients(
        self,
        lm: Any,
        groups: Sequence[Group],
        config: PolicyConfig,
        anchors: Sequence[Anchor],
        denominator: float,
    ) -> Sums:
        """See `update.gradients`."""
        jobs = [share(groups, rank, self.leader.size) for rank in range(self.leader.size)]
        news = not self.known or config.loss.reference_every > 0
        common = {"denominator": denominator, "news": news}
        self.leader.order(
            "gradients",
            [Message({**common, "groups": [asdict(g) for g in job]}) for job in jobs[1:]],
        )
        self.leader.spread(lm.parameters())
        if news:
            self.leader.spread(_reference(anchors))
            self.known = True
        found = [gradients(lm, jobs[0], config, anchors, denominator)]
        self.leader.add_gradients(lm.parameters())
        return merged([*found, *(reply.fields["sums"] for reply in self.leader.replies())])


def serve(config: PolicyConfig, follower: Follower) -> None:
    """A follower's side."""
    setting = setting_of(config)
    lm = open_token_lm(config.lm, lora_rank=config.lora_rank or None)
    teacher = open_token_lm(config.distill) if config.distill else None
    for model in (lm, teacher) if teacher else (lm,):
        model.compute = config.compute
    reference = lm.reference() if config.loss.kl_coef > 0 else None
    anchors = anchors_of(config, reference, teacher)
    if config.shard:
        serve_sharded(config, follower, lm, anchors)
    else:
        _serve(config, follower, lm, anchors, setting)


def _serve(
    config: PolicyConfig,
    follower: Follower,
    lm: LocalLM,
    anchors: Sequence[Anchor],
    setting: Setting,
) -> None:
    tasks = _splits(setting)
    for name, order in follower.orders():
        job = order.fields
        follower.spread(lm.parameters())
        if name == "play":
            envs = [setting.env(tasks[job["split"]]) for _ in job["row_keys"]]
            sampling = Sampling(**job["sampling"])
            episodes = collect(
                lm, envs, job["indices"], prompt=setting.prompt, sampling=sampling,
                copies=job["copies"], row_keys=job["row_keys"],
            )  # fmt: skip
            rows = [[asdict(episode) for episode in group] for group in episodes]
            follower.reply(Message({"episodes": rows}))
        else:
            if job["news"]:
                follower.spread(_reference(anchors))
            groups = [Group(**group) for group in job["groups"]]
            found = gradients(lm, groups, config, anchors, job["denominator"])
            follower.add_gradients(lm.parameters())
            follower.reply(Message({"sums": found}))


def _splits(setting: Setting) -> dict[str, Task]:
    hard = {"hard": setting.hard} if setting.hard is not None else {}
    return {"train": setting.train, "test": setting.test, **hard}


def _reference(anchors: Sequence[Anchor]) -> Iterator[Tensor]:
    """The reference's own weights; under an adapter it has none."""
    for anchor in anchors:
        if anchor.name == "kl" and isinstance(anchor.lm, LocalLM) and not anchor.lm.has_adapter:
            yield from anchor.lm.model.parameters()
