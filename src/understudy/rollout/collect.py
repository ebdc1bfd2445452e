"""The one loop that calls `env.step` with a language model acting: text environments, batched.

Sampling and stepping are interleaved token by token. While a row is being sampled, its environment
may write into the text (a calculator's result), and every finished line of a stepwise episode is an
action that is stepped at once, on the same key-value cache: the prompt is encoded once per group
and nothing is ever tokenised twice, so the tokens that are trained on are those that were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.envs.text_env import TextEnv
from understudy.lm.base import Codec, Completion, Reaction, Sampling, TokenLM
from understudy.rollout.prompting import Prompt
from understudy.types import Episode, TokenTrace


class TokenPolicy(TokenLM, Codec, Protocol):
    """What acting needs of a model: tokens, and text to tokens. A local model is both."""


@dataclass
class _Row:
    """One episode under way: an environment, and how much of the text it has seen."""

    env: TextEnv
    observations: list[str]
    actions: list[str]
    rewards: list[float]
    info: dict[str, object]
    boundaries: list[int]
    """Length of the text, in characters, at the end of each action."""
    terminated: bool = False
    truncated: bool = False

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    def act(self, text: str) -> None:
        """Steps the environment with everything written since the last action."""
        start = self.boundaries[-1] if self.boundaries else 0
        action = text[start:]
        observation, reward, self.terminated, self.truncated, info = self.env.step(action)
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(float(reward))
        self.boundaries.append(len(text))
        self.info.update(info)


class _Stage:
    """All rows of a batch, as the sampler's `react` sees them."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows

    def __call__(self, row: int, text: str, *, ended: bool) -> Reaction | None:
        stage = self.rows[row]
        if ended:
            if not stage.over:
                stage.act(text)
            return Reaction(done=True)
        if stage.env.stepwise and text.endswith("\n"):
            stage.act(text)
            return Reaction(done=True) if stage.over else None
        written = stage.env.interject(text)
        return Reaction(append=written) if written else None


def collect(
    lm: TokenPolicy,
    envs: Sequence[TextEnv],
    indices: Sequence[int],
    *,
    prompt: Prompt,
    sampling: Sampling,
    copies: int = 1,
    row_keys: Sequence[int] | None = None,
) -> list[list[Episode]]:
    """`copies` episodes of each problem, [U][G].

    Args:
        lm: the model that acts.
        envs: U × G environments, used in order and reset here; they may be the same kind or not.
        indices: the U problems.
        prompt: how a problem is put.
        sampling: how tokens are drawn; `max_tokens` bounds an episode, not an action.
        copies: G.
        row_keys: U × G keys of the rows' noise; by default their positions.

    Raises:
        ValueError: there are not U × G environments.
    """
    if len(envs) != len(indices) * copies:
        raise ValueError(f"{len(indices)} problems × {copies} copies need as many envs, not {len(envs)}")
    rows: list[_Row] = []
    for i, env in enumerate(envs):
        observation, info = env.reset(options={"index": indices[i // copies]})
        rows.append(_Row(env, [observation], [], [], dict(info), []))
    prompts = [lm.prompt_ids(prompt.messages(str(rows[u * copies].info["question"]))) for u in range(len(indices))]
    triggers = tuple(dict.fromkeys(t for env in envs for t in env.triggers))
    completions = lm.sample(
        prompts, sampling, copies=copies, triggers=triggers, react=_Stage(rows), row_keys=row_keys
    )
    return [
        [_episode(lm, rows[u * copies + g], prompts[u], completions[u][g]) for g in range(copies)]
        for u in range(len(indices))
    ]


def _episode(lm: TokenPolicy, row: _Row, prompt_ids: Sequence[int], completion: Completion) -> Episode:
    """Closes a row: a text that was cut off is its last action, and the episode is truncated."""
    text = lm.decode(completion.ids)
    cut = not row.over
    if cut:
        row.act(text)
    return Episode(
        env=row.env.name,
        observations=tuple(row.observations),
        actions=tuple(row.actions),
        rewards=tuple(row.rewards),
        terminated=row.terminated and not cut,
        truncated=row.truncated or cut,
        info={**row.info, "text": text, "finish_reason": completion.finish_reason},
        tokens=TokenTrace(
            prompt_ids=tuple(prompt_ids),
            ids=completion.ids,
            logprobs=completion.logprobs,
            sampled=completion.sampled,
            steps=_step_of_tokens(lm, completion.ids, row.boundaries),
        ),
    )


def _step_of_tokens(lm: TokenPolicy, ids: Sequence[int], boundaries: Sequence[int]) -> tuple[int, ...]:
    """The action each token belongs to: the first whose end lies at or past the token's end."""
    if len(boundaries) <= 1:
        return (0,) * len(ids)
    steps: list[int] = []
    step = 0
    for i in range(len(ids)):
        end = len(lm.decode(ids[: i + 1]))
        while step < len(boundaries) - 1 and end > boundaries[step]:
            step += 1
        steps.append(step)
    return tuple(steps)
