"""A search task in words: the environment and what each parameter of a policy means.

Every number comes from the spaces, the registration and the policy itself, never from prose that
somebody would have to keep true. What an environment's own documentation says is quoted behind that,
cut to a stated length.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from understudy.envs.search.policies import CLIP, Linear, Policy, Table
from understudy.envs.search.space import Space
from understudy.envs.search.task import Task

SECTIONS = ("Description", "Observation Space", "Action Space", "Rewards", "Episode End")
"""Of Gymnasium's documentation, in the order they are quoted."""
EXCERPT = 900
"""Most characters of one section."""
LISTED = 40
"""Most numbers of a space, or parameters of a policy, that are told one by one."""
UNBOUNDED = 1e30
"""An end of a range beyond this is none."""


def describe(task: Task) -> str:
    """The environment, then the policy, then the environment's documentation if it has any."""
    documented = documentation(task.arena.single.unwrapped)
    parts = [environment(task), policy(task)]
    if documented:
        parts.append(f"From the environment's documentation, about its defaults:\n{documented}")
    return "\n\n".join(parts)


def environment(task: Task) -> str:
    """Its name, options, spaces, longest episode and, if it is registered, threshold."""
    spec = task.arena.single.spec
    assert spec is not None, "an arena's environment is registered"
    options = {
        k: v for k, v in spec.kwargs.items() if k not in ("render_mode", "disable_env_checker")
    }
    lines = [f"Environment: {spec.id}"]
    if options:
        lines[0] += f" with {', '.join(f'{k} = {v}' for k, v in options.items())}"
    lines += ["Observation:", *_space(task.arena.single.observation_space)]
    lines += ["Action:", *_space(task.arena.action_space)]
    lines.append(f"An episode is cut off after {task.arena.limit} steps.")
    if spec.reward_threshold is not None:
        lines.append(f"The task counts as solved at a mean return of {spec.reward_threshold:g}.")
    return "\n".join(lines)


def policy(task: Task) -> str:
    """What the parameters do."""
    told = task.policy
    assert isinstance(told, (Linear, Table)), "there are these two classes of policies"
    lines = _linear(told, task) if isinstance(told, Linear) else _table(told, task)
    return "\n".join(["Policy:", *lines])


def documentation(env: Any) -> str:
    """Sections of a class's docstring, each cut to `EXCERPT` characters; "" if it has none."""
    text = inspect.cleandoc(type(env).__doc__ or "")
    found = dict(re.findall(r"^ *## ([^\n]+)\n(.*?)(?=^ *## |\Z)", text, re.DOTALL | re.MULTILINE))
    if not found:
        return _cut(text)
    quoted = [(name, _cut(found[name])) for name in SECTIONS if name in found]
    return "\n".join(f"{name}: {body}" for name, body in quoted if body)


def _cut(text: str) -> str:
    """Tables first, four columns of them; no pictures or links; not longer than `EXCERPT`."""
    text = re.sub(r"```\{.*?```|!?\[([^\]]*)\]\(https?:[^)]*\)", r"\1", text, flags=re.DOTALL)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("![", "<", "|-", "| -"))]
    tables = [" | ".join(line.strip("| ").split("|")[:4]) for line in lines if line[0] == "|"]
    tables = [" ".join(line.split()) for line in tables]
    short = "\n".join([*tables, *(line for line in lines if line[0] != "|")])
    if len(short) <= EXCERPT:
        return short
    return short[: short.rfind(" ", 0, EXCERPT)] + " …"


# ---- spaces -------------------------------------------------------------------------------------


def _space(space: spaces.Space[Any]) -> list[str]:
    if isinstance(space, spaces.Box):
        return _box(space)
    if isinstance(space, spaces.Discrete):
        return [f"  one of the numbers {_range(int(space.start), int(space.n))}"]
    assert isinstance(space, spaces.Tuple), "an arena has no other spaces"
    sizes = [int(part.n) for part in space if isinstance(part, spaces.Discrete)]
    parts = [f"  part {i}: {_range(0, n)}" for i, n in enumerate(sizes)]
    weights = [int(np.prod(sizes[i + 1 :])) for i in range(len(sizes))]
    state = " + ".join(f"{w} × part {i}" if w > 1 else f"part {i}" for i, w in enumerate(weights))
    return [*parts, f"  The state's number is {state}: {_range(0, int(np.prod(sizes)))}"]


def _range(start: int, count: int) -> str:
    return (
        ", ".join(map(str, range(start, start + count)))
        if count <= 5
        else f"{start} … {start + count - 1}"
    )


def _box(space: spaces.Box) -> list[str]:
    low, high = space.low.ravel(), space.high.ravel()
    ends = [_ends(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    if len(ends) > 1 and (len(set(ends)) == 1 or len(ends) > LISTED):
        lowest, highest = float(low.min()), float(high.max())
        return [f"  {len(ends)} numbers 0 … {len(ends) - 1}, each {_ends(lowest, highest)}"]
    return [f"  number {i}: {end}" for i, end in enumerate(ends)]


def _ends(low: float, high: float) -> str:
    below, above = low > -UNBOUNDED, high < UNBOUNDED
    if below and above:
        return f"from {low:.6g} to {high:.6g}"
    if below or above:
        return f"at least {low:.6g}" if below else f"at most {high:.6g}"
    return "any number"


# ---- policies -----------------------------------------------------------------------------------


def _linear(told: Linear, task: Task) -> Iterator[str]:
    running = task.running is not None
    yield from _scale(told, running)
    n, k = told.inputs, told.outputs
    bias = " + bias k" if told.bias else ""
    if told.rank:
        weights = "(sum over r of z[i] × (observation i to factor r) × (factor r to action k))"
    else:
        weights = "z[i] × (observation i to action k)"
    yield f"  score of action k = sum over i = 0 … {n - 1} of {weights}{bias}"
    if told.discrete:
        yield (
            "  The score of action 0 is always 0 and has no parameters; the action with the greatest "
            f"score of 0 … {k} is taken, action 0 when no score is above 0."
        )
    else:
        yield (
            f"  The scores are the action's numbers 0 … {k - 1}, each cut to the action's range."
        )
    yield from parameters(task.space)


def _table(told: Table, task: Task) -> Iterator[str]:
    if told.binned:
        yield from _scale(told, task.running is not None)
        size, bins = len(told.scale.mean), told.bins
        powers = [bins ** (size - 1 - i) for i in range(size)]
        state = " + ".join(
            f"{p} × part {i}" if p > 1 else f"part {i}" for i, p in enumerate(powers)
        )
        yield (
            f"  Each z[i] falls into one of {bins} equal parts 0 … {bins - 1} of −2 … 2, what is "
            f"outside into the nearest; the state's number is {state}."
        )
    actions = len(told.offered)
    if not np.array_equal(told.offered, np.arange(actions)):
        rows = np.reshape(told.offered, (actions, -1))[:LISTED].tolist()
        listed = ", ".join(
            f"{i}: {' '.join(f'{x:.4g}' for x in row)}" for i, row in enumerate(rows)
        )
        yield f"  The {actions} actions by number: {listed}{' …' if actions > LISTED else ''}"
    if told.values:
        yield (
            f"  There are {told.states} states; in each the action of the greatest value is taken, the "
            f"first of equals. Parameter p[{actions} × s + a] is the value of action a in state s."
        )
    else:
        yield (
            f"  There are {told.states} states; parameter p[s] is the action that is taken in state s, "
            f"one of {_range(0, actions)}."
        )
    yield from _grid(task.space)


def _scale(told: Policy, running: bool) -> Iterator[str]:
    mean, std = told.scale.mean, told.scale.std
    if running:
        yield (
            "  z[i] = (observation i − its mean so far) / its standard deviation so far, cut to "
            f"±{CLIP:g}."
        )
    elif (mean == 0).all() and (std == 1).all():
        yield f"  z[i] = observation i, cut to ±{CLIP:g}."
    else:
        each = [
            f"(observation {i} {_minus(m)}) / {s:.4g}"
            for i, (m, s) in enumerate(zip(mean, std, strict=True))
        ]
        if len(each) <= LISTED:
            yield f"  z = [{', '.join(each)}], cut to ±{CLIP:g}."
        else:
            yield (
                "  z[i] = (observation i − its mean) / its standard deviation under random actions, cut "
                f"to ±{CLIP:g}."
            )


def _minus(mean: float) -> str:
    return f"{'+' if mean < 0 else '−'} {abs(mean):.4g}"


def parameters(space: Space) -> Iterator[str]:
    """Names of the parameters, one by one where there are not too many."""
    yield from _grid(space)
    named = [f"p{i} = {name}" for i, name in enumerate(space.names)]
    shown = named if len(named) <= LISTED else [*named[: LISTED - 2], "…", named[-1]]
    yield f"  Parameters: {'; '.join(shown)}."


def _grid(space: Space) -> Iterator[str]:
    if space.categorical.all():
        return
    low, high, step = int(space.low[0]), int(space.high[0]), float(space.step[0])
    yield (
        f"  Parameters are written as whole numbers n from {low} to {high}, and n stands for n × "
        f"{step:g}."
    )
