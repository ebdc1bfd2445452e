"""The estimates of the roles that ask a language model most: a rehearsal, or a formula."""

from __future__ import annotations

from itertools import count

import numpy as np

from understudy.envs.control.vector import Arena
from understudy.envs.search.task import Task
from understudy.envs.study.load import load as load_study
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.lm.spec import parse_spec
from understudy.plan.estimate import FLOAT, HALF, Body, Estimate, Silent, body_of, priced, tokens_of
from understudy.plan.learners import plan_teacher, plan_world_model
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.build import build_policy, build_proposer
from understudy.roles.optimizer.config import OptimizerConfig
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.roles.policy.config import PolicyConfig
from understudy.roles.policy.setup import setting_of
from understudy.roles.simulator.config import StudyConfig
from understudy.roles.simulator.generate import is_short, people_of, told_of
from understudy.roles.simulator.people import LanguagePeople
from understudy.roles.simulator.prompt import Short, Worded
from understudy.run.seed import Seeds

__all__ = ["plan_optimizer", "plan_policy", "plan_simulator", "plan_teacher", "plan_world_model"]
PROBLEMS = 64
"""Whose questions are measured."""
PEOPLE = 4
"""Who rehearse a study."""


def plan_policy(config: PolicyConfig) -> Estimate:
    """Answers of all iterations and evaluations, each as long as it may be; memory of one update."""
    setting = setting_of(config)
    sizes = [
        tokens_of(config.lm, setting.prompt.messages(setting.train.problem(i).question))
        for i in range(min(PROBLEMS, len(setting.train)))
    ]
    rows, longest, mean = config.prompts * config.group, max(sizes), float(np.mean(sizes))
    held_out = len(setting.test_indices(config.eval_problems))
    between = (config.iterations - 1) // config.eval_every if config.eval_every else 0
    some = max(1, held_out // config.passk) * config.passk if config.passk > 1 else 0
    hard = held_out if setting.hard is not None else 0
    evaluated = held_out * (between + 2) + 2 * some + 2 * hard
    answers = config.iterations * rows + evaluated
    written = answers * config.max_tokens + 2 * hard * config.max_tokens
    read = round(mean * (config.iterations * config.prompts + evaluated))
    body = body_of(config.lm)
    return priced(
        config.lm, answers, read, written,
        memory={} if body is None else policy_memory(config, body, longest),
        notes=(f"answers that are learnt from: {config.iterations * rows:,}",),
    )  # fmt: skip


def policy_memory(config: PolicyConfig, body: Body, prompt: int) -> dict[str, int]:
    """Bytes at the worst moment of an update, by what they are for.

    Args:
        config: the settings.
        body: of the model.
        prompt: tokens of the longest question, which a group shares.
    """
    weights = body.parameters * FLOAT
    trained = body.adapter(config.lora_rank) * FLOAT if config.lora_rank else weights
    rows = config.prompts * config.group
    part = rows // (config.minibatches * config.accumulate)
    anchors = bool(config.loss.kl_coef > 0 and not config.lora_rank)
    half, saving = config.compute.precision == "bfloat16", config.compute.checkpointing
    tokens = part * config.max_tokens + part // config.group * prompt
    return {
        "weights": weights + (trained if config.lora_rank else 0),
        **({"the weights' copies in bfloat16": weights // FLOAT * HALF} if half else {}),
        "gradients": trained,
        "AdamW's two moments": 2 * trained,
        **({"the reference's weights": weights} if anchors else {}),
        "keys and values while playing": body.cache(
            config.prompts * prompt + rows * config.max_tokens, half=half
        ),
        "activations of a backward pass": body.activations(tokens, half=half, checkpointing=saving),
    }


def plan_optimizer(config: OptimizerConfig) -> Estimate:
    """The search without its environment: the real proposer, trials whose returns are nothing."""
    body = body_of(config.lm) if config.asks else None
    lm, budget = Silent(config.lm), Budget(config.budget)
    with Arena(config.env, config.env_options) as arena:
        task = Task(arena, build_policy(config.policy, arena, None))
        proposer = build_proposer(config, task, budget, lm)
        if not config.asks:
            return Estimate(None)
        trials, rng = Trials(), np.random.default_rng(config.seed)
        reserve = int(config.choice * config.budget.episodes) + config.policy.scaling_episodes
        for generation in count():
            left = int(min(budget.left("episodes") - reserve, budget.left("evaluations")))
            if left <= 0:
                break
            found = proposer.ask(config.batch or proposer.batch, trials, rng)[:left]
            if not found:
                break
            new = [
                Trial(generation, one.proposer, one.point, (float(rng.normal()),), (1,), (0,))
                for one in found
            ]
            budget.spend(episodes=len(new), evaluations=len(new))
            trials.extend(new)
            proposer.tell(new)
    memory: dict[str, int] = {}
    if body is not None:
        most = max(1, lm.prompt_tokens // max(1, lm.calls))
        rows = config.ask.proposals * config.ask.calls
        memory = {
            "weights": body.parameters * FLOAT,
            "keys and values": body.cache(most + rows * (lm.completion_tokens // max(1, lm.calls))),
        }
    return priced(
        config.lm, lm.calls, lm.prompt_tokens, lm.completion_tokens, memory=memory,
        notes=("each trial one episode: with races there are fewer trials, and fewer questions",),
    )  # fmt: skip


def plan_simulator(config: StudyConfig) -> Estimate:
    """Some people rehearse with a model that says nothing; the cohort is many times one of their moments.

    How many moments a person takes part in is told by the real people, as those who say nothing stay.
    """
    make = config.make
    study, seeds = load_study(make.study), Seeds(config.seed)
    real = people_of(make.source, study, seeds)
    told, _ = told_of(real, make.source, study, seeds)
    short = is_short(make)
    lm, prompts = Silent(make.lm), Short(study, told) if short else Worded(study, told)
    rng = seeds.generator("people", "rehearsal")
    people = LanguagePeople(study, lm, prompts, told, PEOPLE, rng, 0, make.ask.temperature)
    play(study, people, uniform(study), PEOPLE, seeds.generator("actions", "rehearsal"), "person-")
    matched = short and make.ask.match and parse_spec(make.lm).has_weights
    pilots = make.ask.pilot_rounds * make.ask.pilot_people if matched else 0
    moments = (pilots + make.people) * real.rows / len(real)
    times = moments / lm.calls
    body, memory = body_of(make.lm), dict[str, int]()
    if body is not None:
        each = lm.prompt_tokens // lm.calls + lm.completion_tokens // lm.calls
        most = max(make.people, make.ask.pilot_people if matched else 0)
        memory = {"weights": body.parameters * FLOAT, "keys and values": body.cache(most * each)}
    return priced(
        make.lm, round(moments), round(lm.prompt_tokens * times),
        round(lm.completion_tokens * times), memory=memory,
        notes=(f"moments of a person, as among the real ones: {real.rows / len(real):.1f}",),
    )  # fmt: skip
