"""What an agent sees, in a short canonical sentence, and the goals it may choose.

The sentences are coarse, so that few distinct ones cover a task and a language model need be asked few
times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.mpe.speaker_listener import COLOURS, SPEAKER
from understudy.envs.mpe.spread import Spread
from understudy.envs.mpe.tag import Tag
from understudy.envs.mpe.view import View, hunts, look
from understudy.envs.mpe.world import Floats, Ints, Task, lengths

AT = 0.1
"""Metres within which an agent stands on a landmark."""
CLOSE, NEAR = 0.25, 0.7
"""Metres within which another agent is very close, or near."""
EDGE = 0.7
"""Metres from the middle, along an axis, beyond which the edge of the square is close."""
SLOW = 0.3
"""Metres per second below which the prey hardly moves."""
SIDES = ("left", "right", "below", "above")
DISTANCES = ("very close", "near", "far")


def goals(task: Task, agent: str) -> tuple[str, ...]:
    """The goals an agent may choose; `skills.act` takes indices into them.

    Raises:
        EnvError: an unknown agent.
    """
    if agent not in task.agents:
        raise EnvError(f"{task.name} has no agent {agent!r}; it has {', '.join(task.agents)}")
    if isinstance(task, Spread):
        return (*(f"go to landmark {i + 1}" for i in range(task.count)), "stay")
    if isinstance(task, Tag):
        if not hunts(task, agent):
            return ("flee", "go left", "go right", "go down", "go up", "stay")
        chase = (f"chase {prey}" for prey in task.prey)
        return (*chase, *(f"cut off {prey}" for prey in task.prey), "stay")
    if agent == SPEAKER:
        return tuple(f"say {colour}" for colour in COLOURS)
    return (*(f"go to the {colour} landmark" for colour in COLOURS), "stay")


def describe(task: Task, agent: str, observation: NDArray[Any]) -> list[str]:
    """One sentence or two for each of an agent's observations [N, D].

    Raises:
        EnvError: an unknown agent or an observation of another length.
    """
    view = look(task, agent, observation)
    if isinstance(task, Spread):
        return _each(_spread_features(view), lambda row: _spread_text(view.names, row))
    if isinstance(task, Tag):
        if hunts(task, agent):
            return _each(_hunter_features(task, view), lambda row: _hunter_text(task, row))
        return _each(_prey_features(task, view), _prey_text)
    if agent == SPEAKER:
        colour = view.signal.argmax(1)[:, None]
        return _each(colour, lambda row: f"The listener must go to the {COLOURS[row[0]]} landmark.")
    return _each(_listener_features(view), _listener_text)


def _each(features: Ints, text: Callable[[list[int]], str]) -> list[str]:
    """The text of every row [N, F], each distinct row written once."""
    distinct, index = np.unique(features, axis=0, return_inverse=True)
    texts = [text(row) for row in distinct.tolist()]
    return [texts[i] for i in index.ravel().tolist()]


def _spread_features(view: View) -> Ints:
    """Landmarks by distance [L], the agent nearest to each of these [L] (0: oneself), standing on the first."""
    far = lengths(view.landmarks)
    order = far.argsort(1)
    agents = np.insert(view.others, 0, 0.0, axis=1)
    nearest = lengths(agents[:, :, None] - view.landmarks[:, None]).argmin(1)
    on = far.min(1, keepdims=True) < AT
    return np.concatenate([order, np.take_along_axis(nearest, order, 1), on], 1)


def _spread_text(names: tuple[str, ...], row: list[int]) -> str:
    who = ("you", *names)
    count = len(row) // 2
    parts = [
        f"{mark + 1} (nearest: {who[agent]})"
        for mark, agent in zip(row[:count], row[count:-1], strict=True)
    ]
    text = f"Landmarks from near to far: {', '.join(parts)}."
    return f"{text} You stand on landmark {row[0] + 1}." if row[-1] else text


def _hunter_features(task: Tag, view: View) -> Ints:
    """Of the prey nearest to oneself: which, side, distance, how it moves; and who is nearest to it."""
    worlds = np.arange(len(view.velocity))
    prey = lengths(view.prey).argmin(1)
    place, moves = view.prey[worlds, prey], view.prey_velocities[worlds, prey]
    pack = np.insert(view.others[:, : task.bad - 1], 0, 0.0, axis=1)
    mine = lengths(pack - place[:, None]).argmin(1) == 0
    motion = np.where(lengths(moves) < SLOW, 4, _side(moves))
    return np.stack([prey, _side(place), _distance(place), motion, mine], 1)


def _hunter_text(task: Tag, row: list[int]) -> str:
    prey, side, distance, motion, mine = row
    ways = ("running left", "running right", "running down", "running up", "hardly moving")
    nearest = "You are" if mine else "Another adversary is"
    return (
        f"{task.prey[prey]} is {DISTANCES[distance]}, {_place(side)}, {ways[motion]}. "
        f"{nearest} the nearest to it."
    )


def _prey_features(task: Tag, view: View) -> Ints:
    """Side and distance of the nearest adversary, the side of the next, and the edges that are close."""
    hunters = view.others[:, : task.bad]
    order = lengths(hunters).argsort(1)[..., None]
    first = np.take_along_axis(hunters, order[:, :1], 1)[:, 0]
    second = np.take_along_axis(hunters, order[:, 1:2], 1)
    other = _side(second[:, 0]) if task.bad > 1 else np.full(len(first), -1)
    edges = np.where(np.abs(view.position) > EDGE, np.sign(view.position), 0).astype(np.int64)
    return np.concatenate([np.stack([_side(first), _distance(first), other], 1), edges], 1)


def _prey_text(row: list[int]) -> str:
    side, distance, other, across, along = row
    text = f"The nearest adversary is {DISTANCES[distance]}, {_place(side)}"
    if other >= 0:
        text += f", the next one {_place(other)}"
    names = ["", "right", "left"][across], ["", "top", "bottom"][along]
    close = [name for name in names if name]
    if not close:
        return f"{text}."
    edges = f"{close[0]} edge is" if len(close) == 1 else f"{close[0]} and {close[1]} edges are"
    return f"{text}. The {edges} close."


def _listener_features(view: View) -> Ints:
    """The word heard (3: none), the landmarks by distance, standing on the first."""
    far = lengths(view.landmarks)
    heard = np.where(view.signal.any(1), view.signal.argmax(1), len(COLOURS))
    on = far.min(1, keepdims=True) < AT
    return np.concatenate([heard[:, None], far.argsort(1), on], 1)


def _listener_text(row: list[int]) -> str:
    heard = (*COLOURS, "nothing")[row[0]]
    near = ", ".join(COLOURS[i] for i in row[1:4])
    text = f"You heard {heard}. Landmarks from near to far: {near}."
    return f"{text} You stand on the {COLOURS[row[1]]} one." if row[4] else text


def _side(places: Floats) -> Ints:
    """The side each of [N, 2] lies on, index into SIDES."""
    across = np.abs(places[:, 0]) >= np.abs(places[:, 1])
    flat, upright = places[:, 0] > 0, places[:, 1] > 0
    return np.where(across, flat, 2 + upright).astype(np.int64)


def _distance(places: Floats) -> Ints:
    """How far each of [N, 2] is, index into DISTANCES."""
    return np.digitize(lengths(places), (CLOSE, NEAR)).astype(np.int64)


def _place(side: int) -> str:
    return f"{SIDES[side]} of you" if side < 2 else f"{SIDES[side]} you"
