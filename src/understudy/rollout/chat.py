"""A ChatLM acting in text environments: any model that answers messages, without its tokens.

Whole answers are one request; stepwise, every line is one request that continues the answer so far.
All environments' requests of a step are in flight together. A calculator cannot write into an answer
that comes back in one piece, so annotations stay as the model wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from understudy.envs.text_env import TextEnv
from understudy.lm.base import ChatLM, Request, Sampling
from understudy.rollout.prompting import Prompt
from understudy.types import Episode


@dataclass
class _Play:
    """One episode under way."""

    env: TextEnv
    question: str
    sample: int
    info: dict[str, object]
    observations: list[str]
    actions: list[str] = field(default_factory=list[str])
    rewards: list[float] = field(default_factory=list[float])
    terminated: bool = False
    truncated: bool = False


def collect_chat(
    lm: ChatLM,
    envs: Sequence[TextEnv],
    indices: Sequence[int],
    *,
    prompt: Prompt,
    sampling: Sampling,
    copies: int = 1,
    row_keys: Sequence[int] | None = None,
) -> list[list[Episode]]:
    """`copies` episodes of each problem, [U][G]; see `collect` for the arguments.

    `row_keys` are not used: a copy is told apart by its sample index, which is part of the cache key.
    """
    del row_keys
    plays: list[_Play] = []
    for i, env in enumerate(envs[: len(indices) * copies]):
        observation, info = env.reset(options={"index": indices[i // copies]})
        plays.append(_Play(env, str(info["question"]), i % copies, dict(info), [observation]))
    while going := [p for p in plays if not (p.terminated or p.truncated)]:
        for play, reply in zip(
            going, lm.chat([_request(p, prompt, sampling) for p in going]), strict=True
        ):
            text = reply.text
            if play.env.stepwise and reply.finish_reason == "stop" and text.strip():
                text = (
                    text.rstrip("\n") + "\n"
                )  # the line end that stopped the model is part of the action
            observation, reward, play.terminated, play.truncated, info = play.env.step(text)
            play.actions.append(text)
            play.observations.append(observation)
            play.rewards.append(float(reward))
            play.info.update(info, finish_reason=reply.finish_reason)
    done = [_episode(p) for p in plays]
    return [done[k : k + copies] for k in range(0, len(done), copies)]


def _request(play: _Play, prompt: Prompt, sampling: Sampling) -> Request:
    if play.env.stepwise:
        sampling = replace(sampling, stop=("\n",))
    messages = prompt.messages(play.question, "".join(play.actions))
    return Request(messages, sampling, sample_index=play.sample)


def _episode(play: _Play) -> Episode:
    return Episode(
        env=play.env.name,
        observations=tuple(play.observations),
        actions=tuple(play.actions),
        rewards=tuple(play.rewards),
        terminated=play.terminated,
        truncated=play.truncated,
        info={**play.info, "text": "".join(play.actions)},
    )
