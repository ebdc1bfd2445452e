"""The looked-up view against MiniGrid's own, and the memory against one kept from MiniGrid's views."""

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Key, Wall

from understudy.envs.grid.minigrid import make_game
from understudy.envs.grid.view import Memory, Sight, fast_view, in_sight

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date")

LEVELS = [
    *(f"MiniGrid-{name}-v0" for name in (
        "DoorKey-5x5", "DoorKey-8x8", "LavaGapS5", "LavaGapS7", "LavaCrossingS9N3",
        "SimpleCrossingS11N5", "FourRooms", "KeyCorridorS3R3", "KeyCorridorS6R3",
        "ObstructedMaze-1Dlhb", "ObstructedMaze-Full", "Dynamic-Obstacles-6x6",
        "Dynamic-Obstacles-Random-5x5", "MultiRoom-N4-S5", "MultiRoom-N6", "LockedRoom",
        "MemoryS13Random", "Playground", "Unlock", "UnlockPickup", "BlockedUnlockPickup",
        "Fetch-8x8-N3", "RedBlueDoors-6x6", "PutNear-6x6-N2", "GoToDoor-5x5", "DistShift1",
        "Empty-Random-6x6",
    )),
    *(f"BabyAI-{name}-v0" for name in (
        "GoToRedBall", "GoToLocal", "GoTo", "GoToImpUnlock", "OpenRedDoor", "OpenDoorLoc",
        "Pickup", "UnblockPickup", "PutNextLocal", "PutNextS5N2Carrying", "KeyInBox", "Unlock",
        "BlockedUnlockPickup", "FindObjS5", "MoveTwoAcrossS5N2", "SynthSeq", "BossLevel",
    )),
]  # fmt: skip


def an_action(game, rng: np.random.Generator) -> int:
    """Random, but in front of a thing mostly pick up or toggle, that doors and boxes change."""
    if game.grid.get(*game.front_pos) is not None and rng.random() < 0.5:
        return int(rng.choice([3, 5])) % game.action_space.n
    return int(rng.choice([0, 1, 2, 2, 2, 2, 4, 6])) % game.action_space.n


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_sight_follows_the_flood_rule(size):
    rng = np.random.default_rng(size)
    hidden = 0
    for _ in range(300):
        opaque = rng.random((size, size)) < rng.uniform(0.05, 0.7)
        grid = Grid(size, size)
        for i, j in np.argwhere(opaque).tolist():
            grid.set(i, j, Wall())
        expected = grid.process_vis((size // 2, size - 1))
        seen = in_sight(opaque.tobytes(), size)
        assert np.array_equal(seen, np.flatnonzero(expected))
        hidden += size * size - len(seen)
    assert hidden > 300  # an opaque cell hid one, once a grid at least


@pytest.mark.parametrize("see_through", [False, True])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_view_is_minigrids_own(size, see_through):
    """44 levels × 100 steps in each of 6 settings: codes and visibility alike."""
    rng = np.random.default_rng(size)
    met = Counter()
    for level in LEVELS:
        game = make_game(level)
        game.agent_view_size, game.see_through_walls = size, see_through
        game.reset(seed=int(rng.integers(1 << 30)))
        sight = Sight(game)
        for _ in range(100):
            _, _, terminated, truncated, _ = game.step(an_action(game, rng))
            if terminated or truncated:
                game.reset()
            sight.follow()
            image, expected = sight.image(), game.gen_obs()["image"]
            assert np.array_equal(image, expected), level
            met.update(image[..., 0].ravel().tolist())
            met["carrying"] += game.carrying is not None
            met["open"] += bool(((image[..., 0] == 4) & (image[..., 2] == 0)).any())
    assert met.keys() >= {1, 2, 4, 5, 6, 7, 8, 9}
    assert min(met["carrying"], met["open"]) > 20
    assert (met[0] > 0) == (not see_through)


def test_fast_view_sees_through_wrappers():
    env = gym.make("MiniGrid-KeyCorridorS3R2-v0", agent_view_size=5)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        assert np.array_equal(fast_view(env), observation["image"])


class SlowMemory:
    """The remembered map, kept from MiniGrid's own view and its own change of coordinates."""

    def __init__(self, game):
        self.game = game
        self.map = np.zeros((game.width, game.height, 3), np.uint8)
        here = game.grid.get(*game.agent_pos)
        self.map[tuple(game.agent_pos)] = (1, 0, 0) if here is None else here.encode()

    def look(self) -> np.ndarray:
        game, view = self.game, self.game.gen_obs()["image"]
        for x in range(game.width):
            for y in range(game.height):
                at = game.relative_coords(x, y)
                if at is not None and view[at][0] != 0 and (x, y) != tuple(game.agent_pos):
                    self.map[x, y] = view[at]
        shown = np.full((game.width, game.height, 4), 4, np.uint8)
        shown[..., :3] = self.map
        held = game.carrying
        kind, colour = (1, 0) if held is None else held.encode()[:2]
        shown[tuple(game.agent_pos)] = kind, colour, 0, game.agent_dir
        return shown


@pytest.mark.parametrize("see_through", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_memory_is_what_the_views_add_up_to(level, see_through):
    rng = np.random.default_rng(len(level))
    game = make_game(level)
    game.see_through_walls = see_through
    game.reset(seed=1)
    cells = np.zeros(game.width * game.height + 1, np.uint32)
    memory, slow = Memory(game, cells), SlowMemory(game)
    slow.look()
    for step in range(40):
        _, _, terminated, truncated, _ = game.step(an_action(game, rng))
        if terminated or truncated or step == 25:
            game.reset()
            memory.forget()
            slow = SlowMemory(game)
        else:
            memory.look()
        shown = cells[:-1].view(np.uint8).reshape(game.width, game.height, 4)
        assert np.array_equal(shown, slow.look()), step


def test_memory_forgets_all_but_what_it_sees():
    game = make_game("MiniGrid-FourRooms-v0")
    game.reset(seed=0)
    cells = np.zeros(game.width * game.height + 1, np.uint32)
    memory = Memory(game, cells)
    for action in (0, 0, 1):
        game.step(action)
        memory.look()
    known = cells.copy()
    memory.forget()
    once = cells.copy()
    assert not np.array_equal(once, known)
    Memory(game, known)
    assert np.array_equal(once, known)
    # A game may also give and take without touching the grid.
    game.carrying = Key("red")
    memory.look()
    (changed,) = np.flatnonzero(cells != once)
    assert cells[changed : changed + 1].view(np.uint8).tolist() == [5, 0, 0, game.agent_dir]
