"""From goals to actions, and the scripted experts that choose goals; both from observations alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.envs.base import EnvError
from understudy.envs.mpe.speaker_listener import COLOURS, SPEAKER
from understudy.envs.mpe.spread import AGENT_SIZE, Spread
from understudy.envs.mpe.tag import ADVERSARY_SIZE, CATCH, OBSTACLE_SIZE, PREY_SIZE, Tag, outside
from understudy.envs.mpe.view import View, hunts, look
from understudy.envs.mpe.words import goals
from understudy.envs.mpe.world import DAMPING, DT, PUSHES, Floats, Ints, Task, lengths

HORIZON = 3
"""Steps of coasting a mover thinks ahead."""
AVOID = 10.0
"""What a metre of running into something costs, in metres of distance to the goal."""
LEAD = 0.5
"""How many seconds ahead of its prey an adversary aims at most."""
FEAR = 0.2
"""Metres over which the danger of an adversary falls by e."""
STRIDE = 0.5
"""How far off the place is that the prey's "go left" and so on aim at."""
FLEE = 0
MOST_AGENTS = 5
"""The spread expert tries every assignment: 5! = 120."""


def act(task: Task, agent: str, goal: NDArray[Any], observation: NDArray[Any]) -> NDArray[np.int64]:
    """What an agent does now to follow its goals.

    A mover takes the push after which coasting brings it nearest to its target over the next steps,
    which speeds up, brakes and stays; it keeps out of what it should not touch.

    Args:
        task: the task.
        agent: whose action.
        goal: indices into `goals(task, agent)`, int [N].
        observation: what the agent sees [N, D].

    Returns:
        actions, int64 [N].

    Raises:
        EnvError: an unknown agent, a goal out of range, or shapes that do not fit.
    """
    view = look(task, agent, observation)
    chosen = _checked(task, agent, goal, len(view.velocity))
    if agent == SPEAKER:
        return chosen
    mover = task.agents.index(agent) - task.bodies.moving.start
    accel, limit = float(task.bodies.accel[mover]), float(task.bodies.max_speed[mover])
    paths = coast(view.velocity, accel, limit)
    if isinstance(task, Tag):
        cost = _tag_cost(task, agent, view, chosen, paths)
    else:
        # "stay", the last goal, is a target where one is.
        places = np.concatenate([view.landmarks, np.zeros((len(chosen), 1, 2))], 1)
        cost = _distance(places[np.arange(len(chosen)), chosen], paths)
        cost += _collisions(view.others, 2 * AGENT_SIZE, paths)
    return cost.argmin(1)


def coast(velocity: Floats, accel: float, max_speed: float) -> Floats:
    """Where each of the 5 pushes and then coasting leads [N, 5, HORIZON, 2], relative.

    The push changes the velocity at the end of this step, so the first place it decides is that after
    the next.
    """
    after = (1 - DAMPING) * velocity[:, None] + accel * DT * PUSHES
    speed = lengths(after)
    fast = speed > max_speed
    after = after * np.divide(max_speed, speed, out=np.ones_like(speed), where=fast)[..., None]
    steps = np.arange(1, HORIZON + 1)
    reach = DT * (1 - (1 - DAMPING) ** steps) / DAMPING
    return DT * velocity[:, None, None] + after[:, :, None] * reach[:, None]


def expert_goals(
    task: Task, observations: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.int64]]:
    """The goals a scripted expert chooses, agent → indices into `goals(task, agent)` [N].

    Spread: the assignment of agents to landmarks with the least summed distance. Tag: adversaries hunt
    the prey nearest to them all, the nearest of them straight and the others ahead of it; prey flees.
    Speaker and listener: say the goal's colour, go to the colour heard.

    Raises:
        EnvError: an agent's observation is missing or does not fit; spread with N > 5.
    """
    chosen: dict[str, NDArray[np.int64]] = {}
    for agent in task.agents:
        if agent not in observations:
            raise EnvError(f"{task.name}: no observation of {agent}")
        view = look(task, agent, observations[agent])
        if isinstance(task, Spread):
            chosen[agent] = _assignment(view, task.agents.index(agent))
        elif isinstance(task, Tag):
            chosen[agent] = _hunt(task, agent, view)
        else:
            chosen[agent] = _relay(agent, view)
    return chosen


def expert_actions(
    task: Task, observations: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.int64]]:
    """`act` on `expert_goals`, agent → actions [N]."""
    chosen = expert_goals(task, observations)
    return {agent: act(task, agent, goal, observations[agent]) for agent, goal in chosen.items()}


def _assignment(view: View, own: int) -> Ints:
    """The landmark of agent `own` in the assignment of least summed distance."""
    count = view.landmarks.shape[1]
    if count > MOST_AGENTS:
        raise EnvError(
            f"simple_spread: the expert assigns at most {MOST_AGENTS} landmarks, not {count}"
        )
    agents = np.insert(view.others, own, 0.0, axis=1)
    far = lengths(agents[:, :, None] - view.landmarks[:, None])
    ways = np.array(list(permutations(range(count))))
    total = far[:, np.arange(count), ways].sum(-1)
    return ways[total.argmin(1), own]


def _hunt(task: Tag, agent: str, view: View) -> Ints:
    worlds = np.arange(len(view.velocity))
    if not hunts(task, agent):
        return np.zeros(len(worlds), np.int64)
    pack = np.insert(view.others[:, : task.bad - 1], 0, 0.0, axis=1)
    far = lengths(pack[:, :, None] - view.prey[:, None])
    prey = far.sum(1).argmin(1)
    nearest = far[worlds, :, prey].argmin(1) == 0
    return np.where(nearest, prey, task.good + prey)


def _relay(agent: str, view: View) -> Ints:
    if agent == SPEAKER:
        return view.signal.argmax(1)  # the strongest of red, green and blue
    return np.where(view.signal.any(1), view.signal.argmax(1), len(COLOURS))


def _tag_cost(task: Tag, agent: str, view: View, goal: Ints, paths: Floats) -> Floats:
    hunter = hunts(task, agent)
    size = ADVERSARY_SIZE if hunter else PREY_SIZE
    worlds = np.arange(len(goal))
    still = np.zeros((len(goal), 1, 2))
    if hunter:
        time = np.minimum(lengths(view.prey), LEAD)[..., None]
        ahead = view.prey + time * view.prey_velocities
        targets = np.concatenate([view.prey, ahead, still], 1)
        cost = _distance(targets[worlds, goal], paths)
    else:
        # "flee" has no target; its row is not used.
        ways = np.broadcast_to(PUSHES[1:] * STRIDE, (len(goal), 4, 2))
        targets = np.concatenate([still, ways, still], 1)
        towards = _distance(targets[worlds, goal], paths)
        cost = np.where((goal == FLEE)[:, None], _danger(task, view, paths), towards)
    return cost + _collisions(view.landmarks, OBSTACLE_SIZE + size, paths)


def _danger(task: Tag, view: View, paths: Floats) -> Floats:
    """How near adversaries are along each path, and what leaving the square costs [N, 5]."""
    hunters = view.others[:, : task.bad]
    gap = lengths(hunters[:, None, None] - paths[..., None, :])
    near = np.exp(-gap / FEAR).sum((-1, -2))
    left = outside(np.abs(view.position[:, None, None] + paths)).sum((-1, -2))
    return CATCH * near + left


def _distance(target: Floats, paths: Floats) -> Floats:
    """Summed distance of each path's places to a target [N, 2]: [N, 5]."""
    return lengths(target[:, None, None] - paths).sum(-1)


def _collisions(bodies: Floats, reach: float, paths: Floats) -> Floats:
    """The price of coming within `reach` of bodies [N, B, 2] along each path [N, 5]."""
    gap = lengths(bodies[:, None, None] - paths[..., None, :])
    return AVOID * np.maximum(reach - gap, 0).sum((-1, -2))


def _checked(task: Task, agent: str, goal: NDArray[Any], count: int) -> NDArray[np.int64]:
    known = goals(task, agent)
    chosen = np.asarray(goal)
    if chosen.shape != (count,) or chosen.dtype.kind not in "iu":
        raise EnvError(
            f"{task.name}: the goals of {agent} are {chosen.dtype} {list(chosen.shape)}; "
            f"they must be integers [{count}]"
        )
    wrong = (chosen < 0) | (chosen >= len(known))
    if wrong.any():
        raise EnvError(
            f"{task.name}: goal {chosen[wrong][0]} of {agent}; it must lie in 0 … {len(known) - 1}"
        )
    return chosen.astype(np.int64)
