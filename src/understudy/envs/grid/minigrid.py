"""Every MiniGrid and BabyAI level, one by one or as a batch, seen as the map the agent remembers.

The observation is {"image", "mission"}. The image, uint8 [W, H, 4], is allocentric: cell (x, y) holds
MiniGrid's object type, colour and state as last seen this episode, (0, 0, 0) where never seen; the
fourth number is 4, but the agent's direction 0 to 3 (right, down, left, up) in its own cell, which
shows what it carries as (type, colour, 0), or (1, 0, 0). The unmodified game decides everything else.
"""

from __future__ import annotations

import contextlib
import difflib
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.grid.view import Cells, Memory

if TYPE_CHECKING:
    from minigrid.minigrid_env import MiniGridEnv

Observation = dict[str, Any]
"""{"image": uint8 array, "mission": str, or a tuple of them}."""


def need_minigrid(who: str) -> type[MiniGridEnv]:
    """MiniGrid's base class.

    Raises:
        EnvError: minigrid is not installed, and `who` needs it.
    """
    try:
        from minigrid.minigrid_env import MiniGridEnv
    except ImportError:
        raise EnvError(f"{who}: needs minigrid; pip install understudy[grid]") from None
    return MiniGridEnv


def make_game(env_id: str, /, **kwargs: Any) -> MiniGridEnv:
    """A MiniGrid environment without wrappers.

    Args:
        env_id: a registered id, such as "MiniGrid-DoorKey-5x5-v0".
        kwargs: what the environment takes: agent_view_size, max_steps, render_mode, …

    Raises:
        EnvError: minigrid is not installed, no such id, or an argument it does not take.
    """
    base = need_minigrid(env_id)
    known = sorted(k for k in gym.registry if k.startswith(("MiniGrid-", "BabyAI-")))
    if env_id not in gym.registry:
        near = ", ".join(difflib.get_close_matches(env_id, known, n=3, cutoff=0.3))
        raise EnvError(f"no MiniGrid level {env_id!r}; the nearest are {near or known[0]}")
    _check(env_id, kwargs)
    try:
        game = gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped
    except (TypeError, AssertionError, gym.error.Error) as error:
        raise EnvError(f"{env_id} cannot be made with {kwargs}: {_reason(error)}") from error
    if not isinstance(game, base):
        raise EnvError(f"{env_id} is not a MiniGrid level; it is a {type(game).__name__}")
    return game


def _check(env_id: str, kwargs: Mapping[str, Any]) -> None:
    size, mode = kwargs.get("agent_view_size", 7), kwargs.get("render_mode")
    if not isinstance(size, int) or size < 3 or size % 2 == 0:
        raise EnvError(f"{env_id}: agent_view_size is an odd number from 3, not {size!r}")
    if mode not in (None, "rgb_array", "human"):
        raise EnvError(f"{env_id}: render_mode is 'rgb_array' or 'human', not {mode!r}")
    if "max_episode_steps" in kwargs:
        raise EnvError(f"{env_id}: MiniGrid counts its own steps; say max_steps")


def _reason(error: Exception) -> str:
    return str(error) or f"its {type(error).__name__} says no more"


def _no_view() -> Observation:
    """Stands in for MiniGrid's `gen_obs` while the game moves; `Memory` looks afterwards."""
    return {}


class Game:
    """One MiniGrid game and what it takes to continue it elsewhere.

    Args:
        game: from `make_game`.
        cells: [W · H + 1] uint32, the remembered map, written in place.
    """

    def __init__(self, game: MiniGridEnv, cells: Cells) -> None:
        self.game = game
        self._cells = cells
        self._memory: Memory | None = None
        self._generator: dict[str, Any] = {}
        self._actions: list[int] = []
        self.name = game.spec.id if game.spec else type(game).__name__
        self._last_action = int(game.action_space.n) - 1  # pyright: ignore[reportAttributeAccessIssue]

    def start(self, seed: int | None = None) -> None:
        """Begins an episode, with a seed or from where the game's generator stands."""
        game = self.game
        generator = game.np_random if seed is None else seeding.np_random(seed)[0]
        self._generator = dict(generator.bit_generator.state)
        self._actions = []
        game.gen_obs = _no_view
        # BabyAI prints the levels it rejects; without a stdout print says nothing.
        with contextlib.redirect_stdout(None):
            try:
                game.reset(seed=seed)
            except (AssertionError, ValueError, OSError) as error:
                raise EnvError(f"{self.name}: no level can be made: {_reason(error)}") from error
            finally:
                del game.gen_obs
        if self._memory is None:
            self._memory = Memory(game, self._cells)
        else:
            self._memory.forget()

    def check(self, actions: Sequence[int]) -> None:
        """Refuses actions the game does not have.

        Raises:
            EnvError: an action that is none, or no episode begun.
        """
        if self._memory is None:
            raise EnvError(f"{self.name}: step before reset")
        if min(actions) < 0 or max(actions) > self._last_action:
            raise EnvError(f"{self.name}: actions are 0 to {self._last_action}, not {actions}")

    def act(self, action: int) -> tuple[float, bool, bool]:
        """Takes a step with an action that `check` let pass: reward, terminated, truncated."""
        game, memory = self.game, self._memory
        assert memory is not None
        game.gen_obs = _no_view
        try:
            _, reward, terminated, truncated, _ = game.step(action)
        finally:
            del game.gen_obs
        memory.look()
        self._actions.append(action)
        return float(reward), terminated, truncated

    def get_state(self) -> tuple[dict[str, Any], list[int]]:
        """The generator's state when the episode began, and the actions since."""
        if self._memory is None:
            raise EnvError(f"{self.name}: there is no state before the first reset")
        return self._generator, list(self._actions)

    def set_state(self, generator: Mapping[str, Any], actions: list[int]) -> None:
        """Plays the episode again up to where `get_state` left it."""
        self.game.np_random = np.random.Generator(np.random.PCG64())
        self.game.np_random.bit_generator.state = dict(generator)
        self.start()
        for action in actions:
            self.act(action)


class MinigridMemory(gym.Env[Observation, int]):
    """One MiniGrid or BabyAI level; its observation is the map the agent remembers.

    Args:
        level: a registered id, such as "BabyAI-GoToLocal-v0", or a game of one's own.
        kwargs: what the environment of that id takes, render_mode among them.

    Raises:
        EnvError: minigrid is not installed, no such id, or an argument it does not take.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, level: str | MiniGridEnv, **kwargs: Any) -> None:
        if kwargs and not isinstance(level, str):
            raise EnvError(
                f"{type(level).__name__} is made already; it takes no {', '.join(kwargs)}"
            )
        self.unwrapped_env = make_game(level, **kwargs) if isinstance(level, str) else level
        """The game itself, without wrappers."""
        game = self.unwrapped_env
        self.render_mode = game.render_mode
        self.observation_space = _observation_space(game)
        self.action_space = game.action_space
        self._cells = np.zeros(game.width * game.height + 1, np.uint32)
        self._game = Game(game, self._cells)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode; MiniGrid knows no options."""
        del options
        self._game.start(seed)
        self.np_random = self.unwrapped_env.np_random
        return self._observation(), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One of MiniGrid's actions: left, right, forward, pick up, drop, toggle, done."""
        try:
            chosen = operator.index(action)
        except TypeError:
            raise EnvError(f"{self._game.name}: an action is a number, not {action!r}") from None
        self._game.check([chosen])
        reward, terminated, truncated = self._game.act(chosen)
        return self._observation(), reward, terminated, truncated, {}

    def render(self) -> Any:
        """The whole grid as MiniGrid draws it, [height, width, 3] uint8; None without render_mode."""
        return self.unwrapped_env.render()

    def close(self) -> None:
        """Closes the game."""
        self.unwrapped_env.close()

    def _observation(self) -> Observation:
        game = self.unwrapped_env
        return {"image": _image(self._cells[None], game)[0], "mission": game.mission}


class MinigridVector(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """N games of one level, each with a generator of its own.

    An ended episode gives way to the next in the same step: the observation is the new episode's
    first, infos["final_obs"] holds the last of the old one in the rows where infos["_final_obs"].

    Args:
        env_id: a registered id, such as "MiniGrid-DoorKey-5x5-v0".
        num_envs: N.
        kwargs: what the environment takes.

    Raises:
        EnvError: minigrid is not installed, no such id, or an argument it does not take.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, env_id: str, num_envs: int, /, **kwargs: Any) -> None:
        if num_envs < 1:
            raise EnvError(f"{env_id}: num_envs is at least 1, not {num_envs}")
        games = [make_game(env_id, **kwargs) for _ in range(num_envs)]
        first = self._first = games[0]
        self.env_id, self.num_envs = env_id, num_envs
        self.render_mode = first.render_mode
        self.single_observation_space = _observation_space(first)
        self.single_action_space = first.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._cells = np.zeros((num_envs, first.width * first.height + 1), np.uint32)
        self._games = [Game(game, row) for game, row in zip(games, self._cells, strict=True)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins N episodes, game i seeded with seed + i, or each from its own generator."""
        del options
        for i, game in enumerate(self._games):
            game.start(None if seed is None else seed + i)
        return self._observation(), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Takes one action in each game.

        Args:
            actions: [N] integers.

        Returns:
            Observation; rewards [N] float32; terminations [N] bool; truncations [N] bool; infos.

        Raises:
            EnvError: actions of another shape or kind, no such action, or no episode begun.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise EnvError(
                f"{self.env_id}: actions are {self.num_envs} integers, not {actions.dtype} {actions.shape}"
            )
        chosen: list[int] = actions.tolist()
        self._games[0].check(chosen)
        outcomes = [game.act(action) for game, action in zip(self._games, chosen, strict=True)]
        rewards, terminations, truncations = zip(*outcomes, strict=True)
        ended = [i for i, (_, done, late) in enumerate(outcomes) if done or late]
        observation = self._observation()
        infos: dict[str, Any] = {
            "final_obs": observation,
            "_final_obs": np.zeros(self.num_envs, bool),
        }
        if ended:
            infos["_final_obs"][ended] = True
            for i in ended:
                self._games[i].start()
            observation = self._observation()
        return (
            observation,
            np.array(rewards, np.float32),
            np.array(terminations, bool),
            np.array(truncations, bool),
            infos,
        )

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs to go on exactly here.

        Returns:
            {"env_id", "generators": per game its generator's state when its episode began, "actions":
            uint8, what was done since, one game after the other, "lengths": int64 [N]}.
        """
        generators, actions = zip(*(game.get_state() for game in self._games), strict=True)
        return {
            "env_id": self.env_id,
            "generators": list(generators),
            "actions": np.array([a for done in actions for a in done], np.uint8),
            "lengths": np.array([len(done) for done in actions], np.int64),
        }

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to where `get_state` was called, by playing each episode again.

        Args:
            state: from a batch of the same level with the same options.

        Raises:
            EnvError: the state is of another level or another number of games.
        """
        generators, lengths = state["generators"], state["lengths"]
        if state["env_id"] != self.env_id or len(generators) != self.num_envs:
            raise EnvError(
                f"state of {len(generators)} × {state['env_id']} for {self.num_envs} × {self.env_id}"
            )
        pieces = np.split(np.asarray(state["actions"]), np.cumsum(lengths)[:-1])
        for game, generator, actions in zip(self._games, generators, pieces, strict=True):
            game.set_state(generator, actions.tolist())
        return self._observation()

    def render(self) -> tuple[Any, ...] | None:
        """One picture per game, as MiniGrid draws it; None without render_mode."""
        if self.render_mode is None:
            return None
        return tuple(game.game.render() for game in self._games)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the games."""
        del kwargs
        for game in self._games:
            game.game.close()

    def _observation(self) -> Observation:
        missions = tuple([game.game.mission for game in self._games])
        return {"image": _image(self._cells, self._first), "mission": missions}


def _observation_space(game: MiniGridEnv) -> gym.spaces.Dict:
    missions: gym.Space[str] = game.observation_space["mission"]  # pyright: ignore[reportIndexIssue]
    image = gym.spaces.Box(0, 255, (game.width, game.height, 4), np.uint8)
    return gym.spaces.Dict({"image": image, "mission": missions})


def _image(cells: Cells, game: MiniGridEnv) -> NDArray[np.uint8]:
    """[N, W · H + 1] uint32 maps to a copy as [N, W, H, 4] uint8."""
    return cells[:, :-1].copy().view(np.uint8).reshape(-1, game.width, game.height, 4)
