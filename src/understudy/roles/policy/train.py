"""The policy role: a language model acts in a language environment and is trained by RL.

The whole loop, top to bottom: collect answers to some problems, turn their rewards into advantages,
update, evaluate. Every iteration's problems and noise follow from (seed, iteration), so a run that
was stopped needs only its weights, its optimizer and its counters to go on as if nothing had
happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from understudy.data.jsonl import DataError
from understudy.data.store import read_episodes, write_episodes
from understudy.lm.base import ChoiceLM, Sampling
from understudy.lm.local import LocalLM
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.correction import corrected
from understudy.roles.policy.credit import token_advantages
from understudy.roles.policy.judge import judged
from understudy.roles.policy.setup import Setting, draw_problems
from understudy.roles.policy.supervised import warm_start
from understudy.roles.policy.update import Anchor, Gradients, Group, gradients, update
from understudy.rollout.collect import collect
from understudy.rollout.evaluate import Evaluation, evaluate
from understudy.run.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from understudy.run.errors import RunError
from understudy.run.progress import Progress
from understudy.run.run import Run
from understudy.types import Episode

GAP_LIMIT = 1e-3
"""Sampler and trainer must agree on every log-probability to this, in nats, or the run stops."""
HALF_GAP_LIMIT = 4.0
"""The same where both compute in bfloat16, whose rounding alone was seen to come to 1.4; a wrong pass is further off."""

Advantages = Callable[[PolicyConfig, Sequence[Sequence[Episode]]], list[list[float]]]
Play = Callable[..., list[list[Episode]]]
"""`collect`, or another way to the same episodes."""


@dataclass
class State:
    """What a checkpoint holds: everything an iteration reads that the seed does not give."""

    lm: LocalLM
    reference: LocalLM | None
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    best: float = -1.0

    def save(self, run: Run, *, best: bool = False) -> None:
        """Writes a checkpoint at the end of an iteration."""
        optimizer, scalars = pack_optimizer(self.optimizer)
        tensors = {"model": trained_weights(self.lm), "optimizer": optimizer}
        if self.reference is not None and not self.lm.has_adapter:
            tensors["reference"] = dict(self.reference.model.state_dict())
        run.checkpoint(
            self.iteration, tensors, {"optimizer": scalars, "best": self.best}, best=best
        )

    def note(self, run: Run, evaluations: Mapping[str, Evaluation]) -> bool:
        """Keeps the model in `model-best/` if no evaluation so far was better; says whether."""
        accuracy = evaluations["test"].accuracy
        if accuracy <= self.best:
            return False
        self.best = accuracy
        self.lm.save(run.path / "model-best")
        return True

    def load(self, found: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        self.iteration, self.best = found.step, float(found.state["best"])
        load_trained(self.lm, found.tensors["model"])
        if self.reference is not None and "reference" in found.tensors:
            self.reference.model.load_state_dict(found.tensors["reference"])
        unpack_optimizer(self.optimizer, found.tensors["optimizer"], found.state["optimizer"])


def train(
    config: PolicyConfig,
    run: Run,
    *,
    lm: LocalLM,
    setting: Setting,
    judge: ChoiceLM | None = None,
    teacher: LocalLM | None = None,
    advantages: Advantages = token_advantages,
    play: Play = collect,
    gradients: Gradients = gradients,
) -> dict[str, Evaluation]:
    """Trains `lm` in place and returns the last evaluation of every held-out set.

    Args:
        config: the settings; `config.iterations` rounds.
        run: where everything is written; if it holds a checkpoint, training goes on from there.
        lm: the model.
        setting: the environment's splits and prompt.
        judge: scores the dimensions of `config.reward`, if there are any.
        teacher: the model `config.distill` names; it must share the tokenizer.
        advantages: the algorithm's credit assignment; pass your own to try another.
        play: how episodes come about.
        gradients: how the gradient of a batch does.

    Raises:
        RunError: sampler and trainer disagree on log-probabilities, or an engine of its own and the
            trainer by more than `config.sampler.max_gap`.
    """
    half = config.compute.precision == "bfloat16"
    found = run.restore()
    state = _begin(config, found, lm, setting)
    anchors = anchors_of(config, state.reference, teacher)
    evaluations: dict[str, Evaluation] = {}
    if found is None:
        evaluations = evaluate_all(config, run, lm, setting, thorough=True, play=play)
        run.log(0, as_metrics(evaluations))
        state.note(run, evaluations)
        state.save(run, best=True)
    with Progress(
        config.iterations,
        f"{config.algorithm} on {config.env}",
        start=state.iteration,
        enabled=run.config.progress,
    ) as bar:
        while state.iteration < config.iterations and not run.stop_requested:
            started = time.monotonic()
            recorded = replayed(config, state.iteration)
            episodes = recorded or _collect(config, run, lm, setting, state.iteration, play)
            if judge is not None:
                episodes = judged(config.reward, judge, episodes)
            credit = advantages(config, episodes)
            _set_rate(config, state)
            groups, stats = _groups(episodes, credit), dict[str, float]()
            if config.sampler.engine != "own":
                groups, stats = corrected(lm, groups, config)
            stats |= update(lm, state.optimizer, groups, config, anchors, gradients)
            if not recorded:
                _check_gap(stats, HALF_GAP_LIMIT if half else GAP_LIMIT)
            state.iteration += 1
            _refresh_reference(config, state)
            stats |= _collection_stats(episodes)
            seconds = time.monotonic() - started
            last, improved = state.iteration == config.iterations, False
            if last or (config.eval_every and state.iteration % config.eval_every == 0):
                evaluations = evaluate_all(config, run, lm, setting, thorough=last, play=play)
                stats |= as_metrics(evaluations)
                improved = state.note(run, evaluations)
            run.log(state.iteration, stats, timing={"seconds": seconds})
            if last or improved or state.iteration % config.run.checkpoint_every == 0:
                state.save(run, best=improved)
            bar.update(state.iteration, reward=stats["reward"], best=state.best)
        if run.stop_requested and state.iteration < config.iterations:
            state.save(run)
            return evaluations
    lm.save(run.path / "model")
    return evaluations


def anchors_of(
    config: PolicyConfig, reference: LocalLM | None, teacher: LocalLM | None
) -> list[Anchor]:
    """What the policy is held to."""
    anchors = [Anchor(reference, config.loss.kl_coef)] if reference else []
    if teacher is not None:
        anchors.append(Anchor(teacher, config.distill_coef, "distill_kl"))
    return anchors


def _begin(config: PolicyConfig, found: Checkpoint | None, lm: LocalLM, setting: Setting) -> State:
    if config.warm_start and found is None:
        warm_start(lm, setting.train, setting.prompt, config)
    state = State(
        lm,
        lm.reference() if config.loss.kl_coef > 0 else None,
        torch.optim.AdamW(
            lm.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        ),
    )
    if found is not None:
        state.load(found)
    return state


def _collect(
    config: PolicyConfig, run: Run, lm: LocalLM, setting: Setting, iteration: int, play: Play
) -> list[list[Episode]]:
    problems = draw_problems(
        setting.train, config.prompts, run.seeds.generator("problems", iteration)
    )
    sampling = Sampling(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        seed=run.seeds.integer("sampling", iteration),
    )
    envs = [setting.train_env() for _ in range(config.prompts * config.group)]
    episodes = play(
        lm, envs, problems, prompt=setting.prompt, sampling=sampling, copies=config.group
    )
    if config.keep_episodes:
        # One file an iteration, written whole: an iteration that is repeated replaces its own.
        file = run.path / "episodes" / f"{iteration:06d}.jsonl"
        write_episodes(file, (e for group in episodes for e in group), iteration=iteration)
    return episodes


def replayed(config: PolicyConfig, iteration: int) -> list[list[Episode]]:
    """The recorded episodes of an iteration, [U][G] by prompt; empty where there are none.

    Raises:
        DataError: the folder does not exist, or an episode in it cannot be read or has no tokens.
    """
    if config.replay is None:
        return []
    if not Path(config.replay).is_dir():
        raise DataError(f"replay: {config.replay} is no folder of episodes")
    file = Path(config.replay) / f"{iteration:06d}.jsonl"
    groups: dict[str, list[Episode]] = {}
    for episode in read_episodes(file) if file.is_file() else ():
        if episode.tokens is None:
            raise DataError(f"{file}: its episodes have no tokens to train on")
        groups.setdefault(str(episode.info["problem_id"]), []).append(episode)
    return list(groups.values())


def _groups(
    episodes: Sequence[Sequence[Episode]], advantages: Sequence[Sequence[float]]
) -> list[Group]:
    credit = iter(advantages)
    found: list[Group] = []
    for group in episodes:
        traces = [e.tokens for e in group if e.tokens is not None]
        found.append(
            Group(
                prompt=traces[0].prompt_ids,
                ids=[t.ids for t in traces],
                old_logprobs=[t.logprobs for t in traces],
                sampled=[t.sampled for t in traces],
                advantages=[next(credit) for _ in traces],
            )
        )
    return found


def _collection_stats(episodes: Sequence[Sequence[Episode]]) -> dict[str, float]:
    rows = [e for group in episodes for e in group]
    return {
        "reward": sum(sum(e.rewards) for e in rows) / len(rows),
        "correct": sum(e.info.get("correct") is True for e in rows) / len(rows),
        "unreadable": sum(e.info.get("correct") is None for e in rows) / len(rows),
        "truncated": sum(e.truncated for e in rows) / len(rows),
        "steps": sum(len(e.rewards) for e in rows) / len(rows),
        "sampled_tokens": float(sum(sum(e.tokens.sampled) for e in rows if e.tokens)),
    }


def _set_rate(config: PolicyConfig, state: State) -> None:
    """Linear warm-up, then linear decay to `final_rate` of the peak."""
    done = state.iteration / max(1, config.iterations - 1)
    share = 1.0 - (1.0 - config.final_rate) * done
    if state.iteration < config.warmup:
        share *= (state.iteration + 1) / (config.warmup + 1)
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * share


def _refresh_reference(config: PolicyConfig, state: State) -> None:
    every = config.loss.reference_every
    if every and state.reference is not None and state.iteration % every == 0:
        state.reference.model.load_state_dict(state.lm.model.state_dict())


def _check_gap(stats: dict[str, float], limit: float) -> None:
    gap = stats.get("logprob_gap", 0.0)
    if not gap <= limit:
        raise RunError(
            f"sampler and trainer disagree on log-probabilities by {gap:.2e} nats (limit {limit:.0e}); "
            "the model was not trained on"
        )


def evaluate_all(
    config: PolicyConfig,
    run: Run,
    lm: LocalLM,
    setting: Setting,
    *,
    thorough: bool,
    play: Play = collect,
) -> dict[str, Evaluation]:
    """Greedy on the held-out set; if thorough, also the harder set, and sampled for pass@k."""
    greedy = Sampling(max_tokens=config.max_tokens, temperature=0.0)
    indices = setting.test_indices(config.eval_problems)
    act = partial(play, lm, prompt=setting.prompt)
    found = {"test": evaluate(partial(act, sampling=greedy), setting.test_env, indices)}
    if thorough and setting.hard is not None:
        longer = Sampling(max_tokens=2 * config.max_tokens, temperature=0.0)
        found["hard"] = evaluate(partial(act, sampling=longer), setting.hard_env, indices)
    if thorough and config.passk > 1:
        seed = run.seeds.integer("pass@k")
        sampled = Sampling(max_tokens=config.max_tokens, temperature=config.temperature, seed=seed)
        some = indices[: max(1, len(indices) // config.passk)]
        found["sampled"] = evaluate(
            partial(act, sampling=sampled), setting.test_env, some, copies=config.passk
        )
    return found


def as_metrics(evaluations: dict[str, Evaluation]) -> dict[str, float]:
    """All evaluations as flat numbers, by set."""
    return {k: v for name, found in evaluations.items() for k, v in found.metrics(name).items()}


def trained_weights(lm: LocalLM) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name."""
    return {name: p.detach() for name, p in lm.model.named_parameters() if p.requires_grad}


def load_trained(lm: LocalLM, weights: dict[str, Any]) -> None:
    """Puts weights of `trained_weights` back, bit for bit."""
    mine = trained_weights(lm)
    if mine.keys() != weights.keys():
        raise RunError("the checkpoint's weights belong to another model")
    with torch.no_grad():
        for name, value in mine.items():
            value.copy_(weights[name])
