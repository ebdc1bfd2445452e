"""CMA-ES on boxes and CatCMA on choices, from the `cmaes` library, with restarts.

CMA-ES: Hansen 2016 (arXiv 1604.00772); CatCMA with margin: arXiv 2504.07884; restarts with twice
the population: Auger & Hansen 2005. Returns are maximised, the library minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.envs.search.space import Floats, Point, Space
from understudy.roles.optimizer.proposers import Proposal, pack, unpack
from understudy.roles.optimizer.trials import Trial, Trials
from understudy.run.errors import ConfigError

INTEGERS = 2**31
SURE = 0.95
"""A choice is settled once one option has this probability."""


def _library() -> Any:
    """The `cmaes` package."""
    try:
        import cmaes
    except ImportError as error:
        raise ConfigError(
            "proposer: CMA-ES needs cmaes; pip install 'understudy[search]'"
        ) from error
    return cmaes


class Evolution(ABC):
    """What both have in common: a population that is asked for and told piece by piece."""

    name: str

    def __init__(self, space: Space, population: int) -> None:
        """`population` 0 is the library's own size."""
        self.space = space
        self._population = population
        self._engine: Any = None
        self._waiting: list[tuple[Point, Any]] = []
        self._told: list[tuple[Any, float]] = []
        self._start_point: Point | None = None
        self._start_spread: Floats | None = None

    @property
    def batch(self) -> int:
        """The population."""
        return self._engine.population_size if self._engine else self._population or self._own_size

    @property
    def _own_size(self) -> int:
        return 4 + int(3 * np.log(len(self.space)))

    @abstractmethod
    def _start(self, population: int, rng: np.random.Generator, first: bool) -> Any:
        """A new engine; not the `first` starts anywhere."""

    @abstractmethod
    def _draw(self) -> tuple[Point, Any]:
        """A point and what the engine has to be told with it."""

    def _stuck(self) -> bool:
        """Whether the distribution has shrunk to where asking on is of no use."""
        return self._engine.should_stop()

    @abstractmethod
    def recommend(self, _trials: Trials) -> list[Point]:
        """The centre of the distribution."""

    def warm_start(self, point: Point, spread: Floats) -> None:
        """Starts around a point, with a standard deviation for each parameter, before any asking."""
        self._start_point, self._start_spread = point, spread

    def ask(self, n: int, _trials: Trials, rng: np.random.Generator) -> list[Proposal]:
        """The next points of the population."""
        if self._engine is None:
            self._engine = self._begun(self.batch, rng, True)
        if not self._waiting and not self._told and self._stuck():
            self._engine = self._begun(2 * self._engine.population_size, rng, False)
        if not self._waiting:
            self._engine.reseed_rng(int(rng.integers(INTEGERS)))
            missing = self._engine.population_size - len(self._told)
            self._waiting = [self._draw() for _ in range(missing)]
        return [Proposal(point, self.name) for point, _ in self._waiting[:n]]

    def _begun(self, population: int, rng: np.random.Generator, first: bool) -> Any:
        engine = self._start(population, rng, first)
        # The library leaves this history as the memory was found; a state must not hold that.
        history = vars(engine).get("_funhist_values")
        if history is not None:
            history.fill(0.0)
        return engine

    def tell(self, trials: Sequence[Trial]) -> None:
        """Updates the distribution once the whole population is known."""
        for trial in trials:
            slot = next((i for i, (p, _) in enumerate(self._waiting) if p == trial.point), None)
            if slot is not None:
                self._told.append((self._waiting.pop(slot)[1], -trial.mean))
        if self._engine is not None and len(self._told) == self._engine.population_size:
            self._engine.tell(self._told)
            self._told = []

    def state(self) -> dict[str, Any]:
        """The library's attributes, array by array; its generator is reseeded at every asking."""
        engine = (
            {k: v for k, v in vars(self._engine).items() if k != "_rng"} if self._engine else {}
        )
        return {
            "engine": {name: _packed(value) for name, value in engine.items()},
            "waiting": [[list(point), self._to_json(x)] for point, x in self._waiting],
            "told": [[self._to_json(x), value] for x, value in self._told],
            "start": None if self._start_point is None else list(self._start_point),
            "spread": None if self._start_spread is None else pack(self._start_spread),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        spread = state["spread"]
        self._start_point = None if state["start"] is None else tuple(state["start"])
        self._start_spread = None if spread is None else unpack(spread)
        self._engine = None
        if state["engine"]:
            self._engine = self._start(4, np.random.default_rng(0), True)
            for name, value in state["engine"].items():
                setattr(self._engine, name, _unpacked(value))
        self._waiting = [(tuple(point), self._from_json(x)) for point, x in state["waiting"]]
        self._told = [(self._from_json(x), value) for x, value in state["told"]]

    def _to_json(self, x: Any) -> Any:
        return pack(x)

    def _from_json(self, x: Any) -> Any:
        return unpack(x)


class CMAES(Evolution):
    """CMA-ES; numbers are rounded to the grid only where they are tried."""

    def __init__(self, space: Space, *, population: int = 0, spread: float = 1 / 3) -> None:
        """`spread`: the first standard deviation, as a share of half a box's width.

        Raises:
            ConfigError: the space has choices.
        """
        if space.categorical.any():
            raise ConfigError("proposer: cma needs numbers; use catcma or plan for a table")
        super().__init__(space, population)
        self.name = "cma"
        self._low, self._high = space.low * space.step, space.high * space.step
        self._spread = spread * (self._high - self._low) / 2

    def _start(self, population: int, rng: np.random.Generator, first: bool) -> Any:
        mean, spread = (self._low + self._high) / 2, self._spread
        if not first:
            mean = rng.uniform(mean - spread, mean + spread)
        elif self._start_point is not None and self._start_spread is not None:
            mean, spread = self.space.values(self._start_point), self._start_spread
        # The engine searches in units of the first spread, which may differ between parameters.
        self._unit = spread
        bounds = np.stack((self._low / spread, self._high / spread), axis=1)
        return _library().CMA(
            mean=np.clip(mean / spread, *bounds.T), sigma=1.0, bounds=bounds,
            population_size=population, seed=0,
        )  # fmt: skip

    def _draw(self) -> tuple[Point, Any]:
        x = self._engine.ask()
        return self.space.point(self.space.grid(x * self._unit)), x

    def recommend(self, _trials: Trials) -> list[Point]:
        """The mean of the distribution."""
        if self._engine is None:
            return []
        return [self.space.point(self.space.grid(self._engine.mean * self._unit))]

    def state(self) -> dict[str, Any]:
        """With the unit of search."""
        unit = pack(self._unit) if self._engine else None
        return {**super().state(), "unit": unit}

    def load(self, state: Mapping[str, Any]) -> None:
        """Back to a state."""
        super().load(state)
        if state["unit"] is not None:
            self._unit = unpack(state["unit"])


class CatCMA(Evolution):
    """CatCMA: a Gaussian over the numbers and a distribution over every choice, together."""

    def __init__(self, space: Space, *, population: int = 0) -> None:
        """Any space; `population` 0 is 4 + 3 ln D, as for CMA-ES."""
        super().__init__(space, population)
        self.name = "catcma"

    def _start(self, population: int, rng: np.random.Generator, first: bool) -> Any:
        space, choice = self.space, self.space.categorical
        low, high = (space.low * space.step)[~choice], (space.high * space.step)[~choice]
        settings: dict[str, Any] = {}
        if len(low):
            mean, spread = (low + high) / 2, float((high - low).max() / 6)
            if not first:
                mean = rng.uniform(mean - spread, mean + spread)
            elif self._start_point is not None and self._start_spread is not None:
                mean = space.values(self._start_point)[~choice]
                spread = float(self._start_spread[~choice].mean())
            settings = {"x_space": np.stack((low, high), axis=1), "mean": mean, "sigma": spread}
        if choice.any():
            levels = space.levels[choice]
            settings["c_space"] = levels.tolist()
            if first and self._start_point is not None:
                settings["cat_param"] = self._leaning(levels)
        return _library().CatCMAwM(population_size=population, seed=0, **settings)

    def _leaning(self, levels: Any) -> Floats:
        """Half of each choice's probability on the start's option, the rest on all of them."""
        leaning = np.where(np.arange(levels.max()) < levels[:, None], 0.5 / levels[:, None], 0.0)
        chosen = np.asarray(self._start_point)[self.space.categorical]
        leaning[np.arange(len(levels)), chosen] += 0.5
        return leaning

    def _draw(self) -> tuple[Point, Any]:
        solution = self._engine.ask()
        return self._point(
            solution.x, None if solution.c is None else solution.c.argmax(axis=1)
        ), solution

    def _stuck(self) -> bool:
        if (~self.space.categorical).any():
            return super()._stuck()
        return bool((self._engine._q.max(axis=1) > SURE).all())

    def _point(self, numbers: Any, options: Any) -> Point:
        choice = self.space.categorical
        values = np.zeros(len(self.space))
        if numbers is not None and (~choice).any():
            values[~choice] = numbers
        if options is not None and choice.any():
            values[choice] = options
        return self.space.point(self.space.grid(values))

    def recommend(self, _trials: Trials) -> list[Point]:
        """The mean of the numbers and the likeliest options."""
        if self._engine is None:
            return []
        options = self._engine._q.argmax(axis=1) if self.space.categorical.any() else None
        return [self._point(getattr(self._engine, "_mean", None), options)]

    def _to_json(self, x: Any) -> Any:
        names = ("x", "z", "c", "_v_raw")
        return {k: pack(v) for k in names if (v := getattr(x, k)) is not None}

    def _from_json(self, x: Any) -> Any:
        return _library().CatCMAwM.Solution(**{name: unpack(value) for name, value in x.items()})


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return pack(value)
    if isinstance(value, np.generic):
        return {"scalar": pack(np.asarray(value))}
    if isinstance(value, float):  # infinity among them, for which JSON has no word
        return {"hex": value.hex()}
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if "hex" in value:
            return float.fromhex(value["hex"])
        return unpack(value["scalar"])[()] if "scalar" in value else unpack(value)
    return value
