"""Skills: one step of a plan, one action of the agent, for many agents at once.

Every skill looks at the remembered map only and keeps no state: what a plan means is worked out
anew at every step. A step that is already done or cannot be done passes on to the next; when none
is left the agent explores, and where nothing is left to explore it waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from understudy.envs.grid.codes import (
    BALL,
    BOX,
    COLOURS,
    DOOR,
    DROP,
    EMPTY,
    FORWARD,
    GOAL,
    KEY,
    OBJECTS,
    OPEN,
    PICKUP,
    RIGHT,
    TOGGLE,
    WAIT,
    WALL,
)
from understudy.envs.grid.paths import (
    ARRIVED,
    NO_WAY,
    Bits,
    behind,
    beside,
    facing,
    first_steps,
    to_bits,
)
from understudy.envs.grid.plans import EXPLORE, Plan, Step
from understudy.envs.grid.scene import STATES, Scene, seen

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_UNDECIDED = NO_WAY


def actions(scene: Scene, plans: Sequence[Plan], *, through_lava: bool = False) -> Ints:
    """Each agent's next action under its plan, [N].

    Args:
        scene: N remembered maps.
        plans: one each.
        through_lava: walk over lava as if it were floor (what a careless teacher does).
    """
    kinds = list(dict.fromkeys(plans))
    number = {plan: i for i, plan in enumerate(kinds)}
    which = np.array([number[plan] for plan in plans], int)
    answers = np.full(len(scene), _UNDECIDED)
    for step in range(1 + max(map(len, kinds), default=0)):
        rows = np.flatnonzero(answers == _UNDECIDED)
        if not len(rows):
            break
        steps = [plan[step] if step < len(plan) else None for plan in kinds]
        answers[rows] = _one_step(scene.take(rows), steps, which[rows], through_lava)
    rows = np.flatnonzero(answers == _UNDECIDED)
    if len(rows):
        some = scene.take(rows)
        answers[rows] = _one_step(some, [EXPLORE[0]], np.zeros(len(rows), int), through_lava)
    return np.where(answers == _UNDECIDED, WAIT, answers)


def _one_step(scene: Scene, steps: Sequence[Step | None], which: Ints, lava: bool) -> Ints:
    """What one step says, _UNDECIDED where it is done, impossible or missing."""
    answers = np.full(len(scene), _UNDECIDED)
    walkable = scene.walkable(lava=lava)
    free = to_bits(walkable)
    goals = np.zeros((len(scene), 4, free.shape[1]), np.uint32)
    on_arrival = np.full(len(scene), _UNDECIDED)
    for i, step in enumerate(steps):
        rows = np.flatnonzero(which == i)
        if step is None or not len(rows):
            continue
        some = scene.take(rows)
        if step.verb == "wait":
            answers[rows] = WAIT
        elif step.verb.startswith("explore"):
            goals[rows] = frontier(some, free[rows], step.verb.removeprefix("explore").strip())
        elif step.verb == "drop":
            answers[rows] = _drop(some, step.object)
        else:
            goals[rows], on_arrival[rows] = _approach(some, step, walkable[rows])
    rows = np.flatnonzero(goals.any(axis=(1, 2)))
    if len(rows):
        found = first_steps(free[rows], goals[rows], scene.position[rows], scene.direction[rows])
        answers[rows] = np.where(found == ARRIVED, on_arrival[rows], found)
    return answers


def frontier(scene: Scene, free: Bits, region: str = "") -> Bits:
    """The states [N, 4, W] that show a cell never seen: before or beside one, or two ahead.

    With a region, those that show an unseen cell there (beside a known wall; in the middle of the
    map) where one can be reached, and all of them where not.
    """
    unseen = to_bits(~seen(scene.kind))
    states = _showing(unseen, free)
    if not region:
        return states
    there = _by_the_walls(scene) if region == "walls" else _in_the_middle(scene)
    wanted = _showing(unseen & there, free)
    found = first_steps(free, wanted, scene.position, scene.direction) != NO_WAY
    return np.where(found[:, None, None], wanted, states)


def _showing(cells: Bits, free: Bits) -> Bits:
    near = facing(cells)
    return near | beside(cells) | behind(near & free[:, None])


def _by_the_walls(scene: Scene) -> Bits:
    """Cells within one of a known wall or door, diagonally too, [N, W]."""
    walls = to_bits((scene.kind == WALL) | (scene.kind == DOOR))
    tall = walls | walls << 1 | walls >> 1
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def _in_the_middle(scene: Scene) -> Bits:
    """The central fifth of the map, in either direction, [1, W]."""
    _, width, height = scene.kind.shape
    middle = np.zeros((1, width, height), bool)
    x, y = max(1, width // 10), max(1, height // 10)
    middle[:, width // 2 - x : (width + 1) // 2 + x, height // 2 - y : (height + 1) // 2 + y] = True
    return to_bits(middle)


def matching(scene: Scene, name: str) -> Bools:
    """The remembered cells that a name means, [N, W, H]."""
    words = name.split()
    kind = OBJECTS.index(words[-1])
    where = scene.kind == kind
    colours = [COLOURS.index(word) for word in words[:-1] if word in COLOURS]
    if colours:
        where &= scene.colour == colours[0]
    states = [STATES.index(word) for word in words[:-1] if word in STATES]
    if kind == DOOR and states:
        where &= scene.state == states[0]
    return where


def holding(scene: Scene, name: str) -> Bools:
    """Which agents carry what a name means, [N]."""
    words = name.split()
    is_it = scene.held == OBJECTS.index(words[-1])
    colours = [COLOURS.index(word) for word in words[:-1] if word in COLOURS]
    return is_it & (scene.held_colour == colours[0]) if colours else is_it


def _drop(scene: Scene, name: str) -> Ints:
    """Puts it down before the agent, which turns until the floor there is free."""
    front, _ = scene.front()
    answers = np.where(front == EMPTY, DROP, RIGHT)
    return np.where(holding(scene, name), answers, _UNDECIDED)


def _approach(scene: Scene, step: Step, walkable: Bools) -> tuple[Bits, Ints]:
    """Goal states of a step with an object [N, 4, W], and the action once there [N]."""
    target = matching(scene, step.object)
    n = len(scene)
    if step.verb == "go to":
        onto = np.repeat(to_bits(target & walkable)[:, None], 4, axis=1)
        return facing(to_bits(target & ~walkable)) | onto, np.full(n, _UNDECIDED)
    if step.verb == "pick up":
        if step.object.split()[-1] not in (OBJECTS[KEY], OBJECTS[BALL], OBJECTS[BOX]):
            target[:] = False
        target &= ~holding(scene, step.object)[:, None, None]
        return facing(to_bits(target)), np.full(n, PICKUP)
    if step.object.split()[-1] == OBJECTS[GOAL]:
        return facing(to_bits(target)), np.full(n, FORWARD)
    # Toggling an open door would close it.
    target &= (scene.kind == BOX) | (scene.kind == DOOR) & (scene.state != OPEN)
    return facing(to_bits(target)), np.full(n, TOGGLE)
