"""A language model that reads earlier trials and proposes the next.

Every trial says how it came about: `lm` as the model wrote it, `lm-clipped` with a number that was
outside its bounds, `lm-near` moved because that point had been tried, and `lm-fallback` where no
usable answer came: a sample around the best points, or anywhere while there are none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.envs.search import lines
from understudy.envs.search.space import Point
from understudy.envs.search.task import Task
from understudy.lm.base import BudgetExceeded, ChatLM, Reply, Request, Sampling
from understudy.roles.optimizer import prompts
from understudy.roles.optimizer.answers import Draft, Form, JsonForm, LinesForm
from understudy.roles.optimizer.budget import Budget
from understudy.roles.optimizer.combine import elite
from understudy.roles.optimizer.config import AskConfig, Style
from understudy.roles.optimizer.history import History
from understudy.roles.optimizer.proposers import Proposal
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.types import Message

KEPT = 500
"""Characters of a stated reason that a trial keeps."""
STAY = 0.75
"""Share of the choices that a fallback takes from the best point."""
SEEDS = 2**31
REMEDIES = ("lm-clipped", "lm-near", "lm-fallback")
"""Names of proposals that are not as a model wrote them."""


class LanguageProposer:
    """Asks a language model; see the module."""

    def __init__(
        self, lm: ChatLM, task: Task, budget: Budget, settings: AskConfig, style: Style = "json"
    ) -> None:
        """Proposes for a task.

        Args:
            lm: who is asked.
            task: the environment and the policies.
            budget: is charged calls, tokens and money, and the episodes that are shown.
            settings: how it is asked.
            style: json for any model, lines for models trained on the propose tasks.

        Raises:
            ConfigError: the model cannot be told or write so many parameters.
            SpaceError: the same, in the style lines.
        """
        self.name, self._lm, self._task, self._budget = "lm", lm, task, budget
        self._settings, self.space = settings, task.space
        self._form: Form
        if style == "lines":
            self._form, self._told = LinesForm(task.space), ""
        else:
            self._form = JsonForm(task.space, settings.proposals)
            self._told = prompts.instructions(task, settings.mode)
        self._history = History(task.space, settings.history_tokens)
        self._shown: tuple[Point, int, str] | None = None
        """The episode that was played to be shown: its point, seed and table."""

    @property
    def batch(self) -> int:
        """Of all calls of a generation."""
        return self._settings.proposals * self._settings.calls

    def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """As many as asked for while there are calls, tokens and money; none from then on."""
        if any(self._budget.left(name) <= 0 for name in ("calls", "tokens", "usd")):
            return []
        replies = self._chat(self._requests(n, trials, rng))
        for reply in replies:
            cost = reply.cost
            tokens = cost.prompt_tokens + cost.completion_tokens
            self._budget.spend(calls=cost.calls, tokens=tokens, usd=cost.usd)
        wanted = min(n, len(replies) * self._form.proposals)
        drafts = [draft for reply in replies for draft in self._form.read(reply.value)]
        return self._proposals(drafts[:wanted], wanted, trials, rng)

    def _requests(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Request]:
        calls, left = math.ceil(n / self._form.proposals), self._budget.left("calls")
        sampling = Sampling(
            max_tokens=self._settings.max_tokens or self._form.max_tokens,
            temperature=self._settings.temperature,
            seed=int(rng.integers(SEEDS)),
        )
        messages = self._messages(trials)
        # After an unusable answer a second question would be one more call.
        repair = 2 * calls <= left
        return [
            Request(messages, sampling, self._form.schema, sample_index=i, repair=repair)
            for i in range(int(min(calls, left)))
        ]

    def _messages(self, trials: Trials) -> tuple[Message, ...]:
        if isinstance(self._form, LinesForm):
            rows = [(point, _mean(found), len(found)) for point, found in trials.points.items()]
            return (Message("user", lines.question(self.space, rows)),)
        best = _best(trials)
        reflection = ""
        if self._settings.mode == "reflective" and best is not None:
            reflection = self._reflection(trials, best)
        asked = prompts.question(self._history.text(trials), reflection, best, self._form.proposals)
        return Message("system", self._told), Message("user", asked)

    def _reflection(self, trials: Trials, best: Trial) -> str:
        """Statistics, and the best trial's median episode, played again from its seed.

        The episode is one of the budget; it is played when the best trial becomes another.
        """
        key = best.point, prompts.median_episode(best)
        if (self._shown is None or self._shown[:2] != key) and self._budget.left("episodes") >= 1:
            self._budget.spend(episodes=1)
            self._shown = (*key, prompts.rollout(self._task, *key))
        parts = [prompts.statistics(trials, self.space)]
        if visited := prompts.visits(best):
            parts.append(f"How often the best trial's episodes were in a state: {visited}")
        if self._shown is not None and self._shown[:2] == key:
            parts.append(self._shown[2])
        return "\n".join(parts)

    def _chat(self, requests: Sequence[Request]) -> list[Reply]:
        """The answers that the money pays for."""
        try:
            return self._lm.chat(requests)
        except BudgetExceeded:
            replies: list[Reply] = []
        # Some may have been answered before the money ran out; those are recorded and cost no more.
        for request in requests:
            try:
                replies += self._lm.chat([request])
            except BudgetExceeded:
                break
        return replies

    def _proposals(
        self, drafts: Sequence[Draft], wanted: int, trials: Trials, rng: np.random.Generator
    ) -> list[Proposal]:
        """Points that are in the space and were not tried, as many as are wanted."""
        seen, found = set(trials.points), list[Proposal]()
        written = [(*draft.point(self.space), draft.reason[:KEPT]) for draft in drafts]
        named = [(p, "lm-clipped" if moved else "lm", reason) for p, moved, reason in written]
        missing = self._fallback(wanted - len(drafts), trials, rng)
        for point, proposer, reason in [*named, *((p, "lm-fallback", "") for p in missing)]:
            near = self._unseen(point, seen, rng)
            if near != point and proposer != "lm-fallback":
                proposer = "lm-near"
            seen.add(near)
            found.append(Proposal(near, proposer, reason))
        return found

    def _unseen(self, point: Point, seen: set[Point], rng: np.random.Generator) -> Point:
        """A neighbour as the model sees them: single steps of the grid are in no question of lines."""
        if isinstance(self._form, LinesForm):
            return lines.unseen(point, self.space, seen, rng)
        return self.space.unseen(point, seen, rng)

    def _fallback(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Point]:
        """A normal sample around the elite, or a uniform one before there is any."""
        uniform = self.space.sample(n, rng)
        if len(trials.points) < 2:
            return [self.space.point(row) for row in uniform.tolist()]
        centre, spread = elite(trials, self.space)
        normal = rng.normal(self.space.values(centre), spread, size=uniform.shape)
        other = np.where(rng.random(uniform.shape) < STAY, np.array(centre), uniform)
        rows = np.where(self.space.categorical, other, self.space.grid(normal))
        return [self.space.point(row) for row in rows.tolist()]

    def tell(self, _trials: Sequence[Trial]) -> None:
        """All it learns from is what `ask` is shown."""

    def recommend(self, _trials: Trials) -> list[Point]:
        """No opinion beyond the trials."""
        return []

    def state(self) -> dict[str, Any]:
        """What the record shows, and the episode that was played."""
        shown = None if self._shown is None else [list(self._shown[0]), *self._shown[1:]]
        return {"history": self._history.state(), "shown": shown}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        self._history.load(state["history"])
        shown = state["shown"]
        self._shown = None if shown is None else (tuple(shown[0]), shown[1], shown[2])


def _mean(returns: Sequence[float]) -> float:
    return math.fsum(returns) / len(returns)


def _best(trials: Trials) -> Trial | None:
    """The longest trial of the best point."""
    if not len(trials):
        return None
    point = trials.best(1)[0]
    return max((trial for trial in trials if trial.point == point), key=lambda trial: trial.n)
