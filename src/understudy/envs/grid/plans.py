"""Plans: short lists of (verb, object) in words, and the grammar that holds them.

`pick up key, open door` is a plan of two steps. A plan is read by splitting it at commas and
matching whole names; it is never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.types import UnderstudyError

REGIONS = ("walls", "middle")
"""What may be explored first."""
ALONE = ("explore", *(f"explore {region}" for region in REGIONS), "wait")
"""Steps without an object."""
WITH_OBJECT = ("go to", "pick up", "drop", "open")
MAX_STEPS = 4
LONGEST = 400
"""Characters of a plan that are read at all."""


class PlanError(UnderstudyError):
    """A text that is no plan for this scene."""


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One skill to use."""

    verb: str
    object: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.object}".strip()


Plan = tuple[Step, ...]
EXPLORE: Plan = (Step("explore"),)
WAIT: Plan = (Step("wait"),)


def write(plan: Plan) -> str:
    """A plan in words."""
    return ", ".join(map(str, plan))


def read(text: str, objects: Sequence[str]) -> Plan:
    """The plan that a text states.

    Args:
        text: what a model wrote.
        objects: names that may be used, e.g. `key`, `red door`.

    Raises:
        PlanError: not a plan, or of things that are not there.
    """
    if len(text) > LONGEST:
        raise PlanError(f"a plan of {len(text)} characters; at most {LONGEST} are read")
    words = text.strip().rstrip(".").lower()
    steps = tuple(_step(part.strip(), objects) for part in words.split(",", MAX_STEPS))
    if len(steps) > MAX_STEPS:
        raise PlanError(f"a plan has at most {MAX_STEPS} steps")
    return steps


def _step(text: str, objects: Sequence[str]) -> Step:
    if text in ALONE:
        return Step(text)
    for verb in WITH_OBJECT:
        name = text.removeprefix(f"{verb} ").removeprefix("the ")
        if text.startswith(f"{verb} "):
            if name in objects:
                return Step(verb, name)
            known = ", ".join(objects) or "nothing"
            raise PlanError(f"no {name[:40]!r} here; there is {known}")
    raise PlanError(f"{text[:40]!r} is no step; there is {', '.join((*ALONE, *WITH_OBJECT))}")


def candidates(objects: Sequence[str], held: str = "") -> list[Plan]:
    """Every plan of one step that means something here: what a model's probabilities are over.

    One step is enough for most scenes, as the skills walk to a thing before they use it, and the
    question is put again as soon as the scene reads otherwise.
    """
    steps = [Step(verb) for verb in ALONE]
    for name in objects:
        kind = name.split()[-1]
        if name != held:
            steps.append(Step("go to", name))
            if kind in ("key", "ball", "box"):
                steps.append(Step("pick up", name))
        if kind == "door" and not name.startswith("open "):
            steps.append(Step("open", name))
    if held:
        steps.append(Step("drop", held))
    return [(step,) for step in steps]


INSTRUCTIONS = (
    "You guide a robot in a grid world. It sees only what is near, carries at most one thing, and "
    "a locked door opens to a key of its own colour in its hand. Say what it does next, as a plan "
    "of one to four steps such as: pick up key\n"
    "Steps: explore, explore walls, explore middle, go to X, pick up X, drop X, open X, wait.\n"
)
"""What a model that knows nothing of these tasks needs to be told before a scene."""


def pattern(objects: Sequence[str]) -> str:
    """A regular expression of exactly the plans for these objects."""
    step = "|".join(ALONE)
    if objects:
        names = "|".join(re.escape(name) for name in objects)
        step += f"|({'|'.join(WITH_OBJECT)}) ({names})"
    return f"({step})(, ({step})){{0,{MAX_STEPS - 1}}}"
