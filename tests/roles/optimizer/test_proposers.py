"""Proposers climb, remember exactly, and take their randomness from where they are told to."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from understudy.envs.control.tabular_optimum import best_stationary, policy_value
from understudy.envs.control.vector import Arena
from understudy.envs.search.policies import make_policy
from understudy.envs.search.space import Point, Space, box, choices
from understudy.envs.search.task import Task
from understudy.roles.optimizer.combine import Hybrid, Portfolio, elite
from understudy.roles.optimizer.evolution import CMAES, CatCMA
from understudy.roles.optimizer.planning import Planner
from understudy.roles.optimizer.proposers import ARS, Proposal, Proposer, RandomSearch
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.errors import ConfigError
from understudy.run.files import to_json

BOX = box([f"x{i}" for i in range(5)], -6.0, 6.0, 0.1)
TABLE = choices([f"c{i}" for i in range(5)], 4)
MIXED = box(["x", "y"], -6.0, 6.0, 0.1) + choices(["c", "d", "e"], 4)
Make = Callable[[Space], Proposer]
MAKERS: dict[str, Make] = {
    "random": RandomSearch,
    "ars": ARS,
    "cma": CMAES,
    "catcma": CatCMA,
    "hybrid": lambda space: Hybrid(RandomSearch(space), CatCMA(space), space, trials=10),
    "portfolio": lambda space: Portfolio([RandomSearch(space), ARS(space), CatCMA(space)]),
}
CASES = [(name, space) for name in MAKERS for space in (BOX, TABLE, MIXED)]
CASES = [case for case in CASES if case[0] != "cma" or case[1] is BOX]


def goal(space: Space, point: Point) -> float:
    """Greatest, 0, at 2.0 of every number and option 3 of every choice."""
    values = space.values(point)
    return -float(np.where(space.categorical, values != 3, np.abs(values - 2.0)).sum())


def search(
    proposer: Proposer, space: Space, generations: range, trials: Trials, asked: int = 1000
) -> list[Proposal]:
    """Tries what is asked for; returns it."""
    found: list[Proposal] = []
    for generation in generations:
        rng = np.random.default_rng([5, generation])
        proposals = proposer.ask(min(asked, proposer.batch), trials, rng)
        assert 1 <= len(proposals) <= min(asked, proposer.batch)
        new = [
            Trial(generation, p.proposer, p.point, (goal(space, p.point),), (1,), (0,))
            for p in proposals
        ]
        trials.extend(new)
        proposer.tell(new)
        found += proposals
    return found


@pytest.mark.parametrize(("name", "space"), CASES)
def test_a_proposer_goes_on_from_its_state_as_if_nothing_had_happened(
    name: str, space: Space
) -> None:
    whole = search(MAKERS[name](space), space, range(14), Trials(), asked=7)
    assert all(space.point(p.point) == p.point for p in whole)
    for stop in (1, 5, 9):
        trials = Trials()
        first, second = MAKERS[name](space), MAKERS[name](space)
        before = search(first, space, range(stop), trials, asked=7)
        second.load(json.loads(to_json(first.state())))
        after = search(second, space, range(stop, 14), trials, asked=7)
        assert [*before, *after] == whole
        assert second.recommend(trials) is not None


@pytest.mark.parametrize(("name", "space"), [c for c in CASES if c[0] not in ("random",)])
def test_a_proposer_climbs(name: str, space: Space) -> None:
    trials, proposer = Trials(), MAKERS[name](space)
    search(proposer, space, range(80), trials)
    chance = np.mean(
        [goal(space, space.point(p)) for p in space.sample(500, np.random.default_rng(0))]
    )
    late = np.mean([trial.mean for trial in trials[-40:]])
    assert late > chance / 2, (late, chance)
    assert max(goal(space, p) for p in proposer.recommend(trials)) > chance / 3


def test_random_search_tries_nothing_twice() -> None:
    trials = Trials()
    small = choices(["a", "b", "c"], 3)
    found = search(RandomSearch(small), small, range(1), trials)
    found += search(RandomSearch(small), small, range(1, 2), trials, asked=11)
    assert len({p.point for p in found}) == 27


def test_cma_es_refuses_choices() -> None:
    with pytest.raises(ConfigError, match="cma needs numbers"):
        CMAES(MIXED)


def test_a_warm_start_begins_at_the_elite() -> None:
    trials, rng = Trials(), np.random.default_rng(0)
    near = [tuple(20 + rng.integers(-3, 4, 5)) for _ in range(4)]
    far = [tuple(rng.integers(-60, -20, 5)) for _ in range(12)]
    points = [BOX.point(p) for p in near + far]
    trials.extend([Trial(0, "lm", p, (goal(BOX, p),), (1,), (0,)) for p in points])
    centre, spread = elite(trials, BOX)
    assert np.abs(np.array(centre) - 20).max() <= 3
    assert spread.max() < 2.0
    hybrid = Hybrid(RandomSearch(BOX), CMAES(BOX), BOX, trials=0)
    asked = hybrid.ask(50, trials, rng)
    assert {p.proposer for p in asked} == {"cma"}
    assert np.abs(np.mean([p.point for p in asked], axis=0) - 20).max() < 6


def test_hybrid_hands_over_after_its_first_trials() -> None:
    found = search(MAKERS["hybrid"](BOX), BOX, range(4), Trials())
    assert [p.proposer for p in found[:10]] == ["random"] * 10
    assert {p.proposer for p in found[10:]} == {"catcma"}


def test_who_has_nothing_more_is_passed_over() -> None:
    class Spent(RandomSearch):
        def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
            return super().ask(n, trials, rng) if len(trials) < 5 else []

    spent = Spent(BOX, batch=5)
    spent.name = "spent"
    hybrid = Hybrid(spent, CMAES(BOX), BOX, trials=50)
    found = search(hybrid, BOX, range(4), Trials())
    assert [p.proposer for p in found[:6]] == ["spent"] * 5 + ["cma"]
    found = search(Portfolio([spent, CMAES(BOX)]), BOX, range(6), Trials())
    assert {p.proposer for p in found[5:]} == {"cma"}
    assert Portfolio([spent, Spent(BOX)]).ask(3, _some_trials(), np.random.default_rng(0)) == []


def _some_trials() -> Trials:
    trials = Trials()
    trials.extend([Trial(0, "x", (i, 0, 0, 0, 0), (0.0,), (1,), (0,)) for i in range(9)])
    return trials


def test_a_portfolio_feeds_whoever_earns_it() -> None:
    class Knowing(RandomSearch):
        def ask(self, n: int, trials: Trials, rng: np.random.Generator) -> list[Proposal]:
            points = 20 + rng.integers(-5, 6, size=(n, len(self.space)))
            return [Proposal(self.space.point(p), "knowing") for p in points]

    knowing = Knowing(BOX)
    knowing.name = "knowing"
    found = search(Portfolio([RandomSearch(BOX), knowing]), BOX, range(40), Trials())
    share = np.mean([p.proposer == "knowing" for p in found])
    assert share > 0.8
    assert {p.proposer for p in found} == {"random", "knowing"}


@pytest.mark.parametrize(
    ("env", "episodes"),
    [("understudy/Maze-v0", 64), ("understudy/Nim-v0", 320), ("FrozenLake-v1", 640)],
)
def test_the_planner_finds_the_optimum_of_a_table(env: str, episodes: int) -> None:
    arena = Arena(env)
    assert arena.table is not None
    task = Task(arena, make_policy("table", arena.observation_space, arena.action_space))
    planner = Planner(task.space, limit=arena.limit)
    for generation in range(episodes // planner.batch):
        proposals = planner.ask(planner.batch, Trials(), np.random.default_rng([2, generation]))
        played, moves = task.score([p.point for p in proposals], [generation])
        assert sum(move[5] for seen in moves for move in seen) == played.lengths.sum()
        new = [
            Trial(generation, "plan", p.point, tuple(r), (1,), (0,), moves=m)
            for p, r, m in zip(proposals, played.returns.tolist(), moves, strict=True)
        ]
        planner.tell(new)
    again = Planner(task.space, limit=arena.limit)
    again.load(json.loads(to_json(planner.state())))
    (point,) = planner.recommend(Trials())
    assert again.recommend(Trials()) == [point]
    _, best = best_stationary(arena.table)
    assert policy_value(arena.table, np.array(point)) >= best - 0.03


def test_the_planner_needs_a_table() -> None:
    with pytest.raises(ConfigError, match="table"):
        Planner(BOX, limit=10)
