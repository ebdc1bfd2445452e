"""How a language model is asked and read, without a server: forms, fallbacks, money."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import make_policy
from understudy.envs.search.task import Task
from understudy.lm.base import BudgetExceeded, Reply, Request, Unparsed
from understudy.roles.optimizer.answers import Draft, JsonForm
from understudy.roles.optimizer.budget import Budget, BudgetConfig
from understudy.roles.optimizer.build import build_proposer
from understudy.roles.optimizer.config import AskConfig, OptimizerConfig
from understudy.roles.optimizer.language import LanguageProposer
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.config import load
from understudy.run.errors import ConfigError
from understudy.types import Usage


class Priced:
    """A model that costs a cent, until the money is spent."""

    name = "priced"

    def __init__(self, usd: float) -> None:
        self.left, self.asked = usd, 0

    def chat(self, requests: Any) -> list[Reply]:
        replies: list[Reply] = []
        for _ in requests:
            if self.left < 0.01:
                raise BudgetExceeded("the next call could pass the cap")
            self.left -= 0.01
            self.asked += 1
            replies.append(Reply("?", Unparsed("?", "no"), usage=Usage(calls=1, usd=0.01)))
        return replies


def task() -> Task:
    arena = Arena("CartPole-v1")
    return Task(arena, make_policy("linear", arena.observation_space, arena.action_space))


def test_money_ends_the_questions() -> None:
    budget = Budget(BudgetConfig(usd=0.02))
    lm = Priced(1.0)
    proposer = LanguageProposer(lm, task(), budget, AskConfig())
    rng = np.random.default_rng(0)
    assert len(proposer.ask(8, Trials(), rng)) == 8
    assert len(proposer.ask(8, Trials(), rng)) == 8
    assert budget.usd == pytest.approx(0.02)
    assert proposer.ask(8, Trials(), rng) == []
    assert lm.asked == 2
    # The model's own cap ends them too: what it answered before is used.
    proposer = LanguageProposer(Priced(0.025), task(), Budget(BudgetConfig()), AskConfig())
    assert len(proposer.ask(24, Trials(), rng)) in (0, 8, 16)
    assert proposer.ask(8, Trials(), rng) == []


class Recorder:
    """Keeps what it is asked; has nothing to say."""

    name = "recorder"

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def chat(self, requests: Any) -> list[Reply]:
        self.requests += requests
        return [Reply("", Unparsed("", "nothing"), usage=Usage(calls=1)) for _ in requests]


def test_a_fallback_samples_around_the_elite() -> None:
    proposer = LanguageProposer(Recorder(), task(), Budget(BudgetConfig()), AskConfig())
    trials = Trials()
    rng = np.random.default_rng(1)
    first = proposer.ask(200, trials, rng)
    assert {p.proposer for p in first} == {"lm-fallback"}
    wide = np.array([p.point for p in first])
    assert np.abs(wide.mean(axis=0)).max() < 8
    assert wide.std() > 30
    for i, shift in enumerate((-1, 0, 1, 2)):
        trials.extend([Trial(0, "lm", (40 + shift, -40, 30, 20, 10), (100.0,), (1,), (i,))])
        trials.extend([Trial(0, "lm", (-50 - shift, 50, -30, -20, 0), (0.0,), (1,), (i,))])
    near = np.array([p.point for p in proposer.ask(200, trials, rng)])
    assert np.abs(near.mean(axis=0) - (40, -40, 30, 20, 10)).max() < 5
    assert near.std(axis=0).max() < 15


def test_answers_are_read_leniently_and_asked_for_strictly() -> None:
    searched = task()
    form = JsonForm(searched.space, 3)
    schema: Any = form.schema
    document = schema.model_json_schema()
    assert document["properties"]["proposals"]["maxItems"] == 3
    one = document["$defs"]["Point"]["properties"]["p0"]
    assert (one["type"], one["minimum"], one["maximum"]) == ("integer", -60, 60)
    given = {
        "reason": "r",
        "proposals": [{f"p{i}": v for i, v in enumerate((1, 2.4, -61, 1e300, 0))}],
    }
    (draft,) = form.read(schema.model_validate(given))
    assert draft.point(searched.space) == ((1, 2, -60, 60, 0), True)
    assert Draft([1, 2, 3, 4, 5]).point(searched.space) == ((1, 2, 3, 4, 5), False)
    assert form.read(Unparsed("", "no")) == []
    searched.arena.close()


def test_large_spaces_are_asked_for_fewer_points_or_none() -> None:
    with Arena("Taxi-v4") as arena:
        form = JsonForm(make_policy("table", arena.observation_space, arena.action_space).space, 8)
        assert form.proposals == 2
        with pytest.raises(ConfigError, match="cannot write 3000 parameters"):
            JsonForm(make_policy("values", arena.observation_space, arena.action_space).space, 8)


def test_the_pocket_is_asked_in_lines() -> None:
    asks = task()
    settings = replace(OptimizerConfig(), proposer="lm")
    lm = Recorder()
    proposer = build_proposer(settings, asks, Budget(BudgetConfig()), lm)
    proposals = proposer.ask(5, Trials(), np.random.default_rng(0))
    assert len(lm.requests) == len(proposals) == 5
    assert [request.sample_index for request in lm.requests] == [0, 1, 2, 3, 4]
    assert len(lm.requests[0].messages) == 1
    assert "Search" in lm.requests[0].messages[0].content
    with pytest.raises(ConfigError, match="pocket is too small"):
        build_proposer(
            replace(settings, ask=AskConfig(style="json")), asks, Budget(BudgetConfig()), lm
        )
    with pytest.raises(ConfigError, match="needs a language model"):
        build_proposer(settings, asks, Budget(BudgetConfig()))
    asks.arena.close()


def test_settings_that_cannot_mean_anything() -> None:
    for flags, word in (
        (["--proposer", "cma", "--first", "lm"], "only --proposer hybrid"),
        (["--ask.temperature", "0", "--ask.calls", "2"], "ask.temperature"),
    ):
        with pytest.raises(ConfigError, match=word):
            load(OptimizerConfig, flags)
