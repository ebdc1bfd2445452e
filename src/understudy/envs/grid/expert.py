"""A scripted planner: what a careful person would do next, from the words of a scene alone.

It knows the door-key tasks and the missions of MiniGrid and BabyAI that name one thing to reach,
pick up or open. For other missions it explores and opens doors.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.envs.grid.codes import COLOURS
from understudy.envs.grid.plans import EXPLORE, MAX_STEPS, Plan, Step
from understudy.envs.grid.scene import STATES, Words

_VERBS = {
    "pick up": "pick up",
    "fetch": "pick up",
    "go get": "pick up",
    "go to": "go to",
    "get to": "go to",
    "open": "open",
}
_KINDS = ("key", "ball", "box", "door", "goal")


def plan(mission: str, words: Words) -> Plan:
    """The next steps, at most four; those that cannot be done yet are passed over by the skills."""
    verb, kind, colour = _aim(mission)
    targets = [n for n in words.objects if n.endswith(kind) and colour in n and n != words.held]
    steps: list[Step] = []
    for name in targets:
        if verb and not name.startswith("open "):
            steps += _unlock(name, words) if "locked" in name.split() else [Step(verb, name)]
    for name in words.objects:
        if "locked" in name.split():
            steps += _unlock(name, words)
    if "key" in mission and not words.held:
        steps += [Step("pick up", n) for n in _like(words.objects, colour, "key")]
    if not steps and words.held and _wrong_key(mission, words):
        steps = [Step("drop", words.held)]
    if steps and steps[0].verb != "go to":
        return tuple(dict.fromkeys(steps))[: 1 if steps[0].verb == "drop" else 2]
    closed = [Step("open", n) for n in words.objects if n.split()[0] == STATES[1]]
    steps += [_search(mission, words), *closed]
    return tuple(dict.fromkeys(steps))[:MAX_STEPS]


def _aim(mission: str) -> tuple[str, str, str]:
    """Verb, kind and colour of the mission's last clause; empty where there is none."""
    words = mission.lower().replace(",", " ").split()
    starts = [
        (i, verb)
        for verb in _VERBS
        for i in range(len(words))
        if words[i : i + len(verb.split())] == verb.split()
    ]
    for start, verb in sorted(starts, reverse=True):
        rest = words[start + len(verb.split()) :]
        spot = next((j for j, word in enumerate(rest) if word.rstrip("s") in _KINDS), None)
        if spot is not None:
            kind = rest[spot].rstrip("s")
            coloured = spot and kind != "goal" and rest[spot - 1] in COLOURS
            return _VERBS[verb], kind, rest[spot - 1] if coloured else ""
    return "", "?", ""


def _unlock(door: str, words: Words) -> list[Step]:
    """Open it with the key in hand, or fetch that key, putting down what is in hand first."""
    colour = next((c for c in COLOURS if c in door.split()), "")
    if words.held and words.held in _like([words.held], colour, "key"):
        return [Step("open", door)]
    keys = [n for n in _like(words.objects, colour, "key") if n != words.held]
    if not keys:
        return []
    return [Step("drop", words.held)] if words.held else [Step("pick up", keys[0])]


def _wrong_key(mission: str, words: Words) -> bool:
    """Holding a key of a colour that the mission does not speak of, while the right one is known."""
    asked = [c for c in COLOURS if c in mission.split()]
    right = [n for n in words.objects if n.endswith("key") and n.split()[0] in asked]
    return bool(asked) and words.held.split()[0] not in asked and bool(right)


def _search(mission: str, words: Words) -> Step:
    """Explore, and where the mission says: the middle for the key, the walls for the doors."""
    key_known = any(name.endswith("key") for name in words.objects)
    if "in the middle" in mission and not key_known:
        return Step("explore middle")
    if "in the walls" in mission and key_known:
        return Step("explore walls")
    return EXPLORE[0]


def _like(names: Sequence[str], colour: str, kind: str) -> list[str]:
    return [n for n in names if n.endswith(kind) and (not colour or colour in n.split())]
