"""What is remembered as arrays and in words: few words, the same for the same things in any order."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.envs.grid.maps import draw
from understudy.envs.grid import expert
from understudy.envs.grid.codes import BLUE, COLOURS, EMPTY, KEY, RED, WALL
from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.layouts import RULES
from understudy.envs.grid.plans import candidates
from understudy.envs.grid.scene import Scene, Words, describe, seen
from understudy.envs.grid.skills import actions

MOST_TEXTS = {"SimpleDoorKey": 6, "LavaDoorKey": 6, "ColoredDoorKey": 16, "TwoDoor": 9}
COLOURED = re.compile(rf"\b({'|'.join(COLOURS)})\b")


def words(*lines: str, held: str = ".", mission: str = "go") -> Words:
    return describe(draw(lines, held=held), [mission])[0]


def remembered(*lines: str, **options: str) -> str:
    return words(*lines, **options).text.splitlines()[1]


def test_a_scene_is_the_map_without_the_agent() -> None:
    scene = draw(("#L#", "#<k", "  K"), held="K")
    assert scene.position.tolist() == [[1, 1]]
    assert scene.direction.tolist() == [2]
    assert (scene.held[0], scene.held_colour[0]) == (KEY, BLUE)
    assert scene.kind[0, 1, 1] == EMPTY
    assert scene.kind[0, 2].tolist() == [WALL, KEY, KEY]
    assert seen(scene.kind)[0].tolist() == [[True, True, False]] * 2 + [[True] * 3]
    assert len(scene.take(np.array([0, 0]))) == 2


def test_what_is_before_each_agent() -> None:
    scene = draw(("k#", ">."), ("k#", "^."), (".<", "K."), (".k", "K^"), (".^", "K."))
    kind, colour = scene.front()
    assert kind.tolist() == [EMPTY, KEY, EMPTY, KEY, WALL]
    assert colour[[1, 3]].tolist() == [RED, RED]
    assert draw((">",)).front()[0].tolist() == [WALL], "beyond the edge"


def test_what_can_be_walked_on() -> None:
    scene = draw((".,G~O", "CL#k>", " bx.."))
    free = np.argwhere(scene.walkable()[0].T).tolist()
    assert free == [[0, 0], [0, 1], [0, 2], [0, 4], [1, 4], [2, 3], [2, 4]]
    more = scene.walkable(lava=True) & ~scene.walkable()
    assert np.argwhere(more[0].T).tolist() == [[0, 3]]


def test_a_scene_in_words() -> None:
    assert words("#L#", "#<.").text == "Mission: go.\nRemembered: locked door.\nHeld: nothing."
    full = words("LC", ">x", "bG", held="k", mission="get to the green goal")
    assert full.text == (
        "Mission: get to the green goal.\n"
        "Remembered: closed red door, locked red door, green ball, green box, goal.\n"
        "Held: red key."
    )
    assert set(full.objects) == {
        "closed red door", "locked red door", "green ball", "green box", "goal", "red key",
    }  # fmt: skip
    assert full.held == "red key"


def test_equal_things_are_counted() -> None:
    assert remembered("LLk", ">#.") == "Remembered: 2 locked doors, key."
    assert words("LLk", ">#.").objects == ("locked door", "key")
    assert words(">#", held="k").objects == ("key",)
    assert words("k>", held="k").objects == ("key",), "what lies there and what is held"


def test_words_do_not_depend_on_where_things_are() -> None:
    rng = np.random.default_rng(0)
    letters = list("LMkKb.. ##>,")
    texts = set()
    for _ in range(60):
        rng.shuffle(letters)
        texts.add(words("".join(letters[:6]), "".join(letters[6:])))
    assert len(texts) == 1
    assert not re.search(r"\d", texts.pop().text), "no coordinates"


@pytest.mark.parametrize(
    ("line", "held", "mission", "said"),
    [
        ("Lk>", ".", "go", False),
        ("LK>", ".", "go", True),
        ("kK>", ".", "go", True),
        ("L.>", "K", "go", True),
        ("L.>", "k", "go", False),
        ("Gk>", ".", "go", False),  # a goal is always green
        ("Lk>", ".", "open the red door", True),
        ("Lk>", ".", "be bored", False),
    ],
)
def test_colours_are_said_where_they_matter(line: str, held: str, mission: str, said: bool) -> None:
    text = words(line, held=held, mission=mission).text.split("\n", 1)[1]
    assert bool(COLOURED.search(text)) == said


def test_lava_is_a_danger_unless_the_mission_says_so() -> None:
    assert words("~>").text.endswith("\nDanger: lava.")
    assert "lava" not in words(".>").text
    assert "lava" not in "".join(words("~>").objects)
    spoken = words("~>", mission="do not step on lava")
    assert spoken.text.count("lava") == 1
    assert spoken == words(".>", mission="do not step on lava")


def test_rows_do_not_mix() -> None:
    maps = [("k.", ">."), ("..", ">."), ("L~", ">."), ("kK", "<.")]
    together = describe(draw(*maps), ["a", "b", "c", "d"])
    alone = [words(*lines, mission=m) for lines, m in zip(maps, "abcd", strict=True)]
    assert together == alone


@pytest.mark.parametrize("task", RULES)
def test_a_task_is_few_texts(task: str) -> None:
    """Whatever is done, by the expert or by any plan at all, with a step in ten at random."""
    count = 64
    envs, rng = DoorKeyVector(task, count), np.random.default_rng(0)
    observation, _ = envs.reset(seed=0)
    texts: dict[str, Words] = {}
    for t in range(200):
        scene, missions = Scene.of(observation["image"]), observation["mission"]
        said = describe(scene, missions)
        texts.update((w.text, w) for w in said)
        if t % 7 == 0:
            options = [candidates(w.objects, w.held) for w in said]
            wild = [o[rng.integers(len(o))] for o in options]
        plans = [
            expert.plan(m, w) if i % 2 else p
            for i, (m, w, p) in enumerate(zip(missions, said, wild, strict=True))
        ]
        chosen = actions(scene, plans)
        random = rng.integers(0, 7, count)
        observation, *_ = envs.step(np.where(rng.random(count) < 0.1, random, chosen))
    assert len(texts) <= MOST_TEXTS[task]
    assert len(texts) >= 6
    assert len({(w.text, w.objects, w.held) for w in texts.values()}) == len(texts)
    assert any(map(COLOURED.search, texts)) == RULES[task].decoy
    assert all(("lava" in t) == RULES[task].lava for t in texts)
