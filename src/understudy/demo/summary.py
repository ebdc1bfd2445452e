"""What the demo says at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.compare.summary import interval

DID: Mapping[str, str] = {
    "policy": "the model acts: trained by reinforcement learning on its own answers",
    "teacher": "the model advises a small PPO student; beside it PPO alone, for as many steps",
    "optimizer": "the model proposes a controller's first parameters, CMA-ES refines them; for as many episodes",
    "world_model": "a language model's body, from scratch, is the memory of a world model; beside it the same with a window of one step",
    "simulator": "the model plays the people of a study from aggregates; beside it statistical simulators",
}
"""What a language model does in each role."""


def describe(file: Path) -> str:
    """The demo's result, from its JSON file; where the page is that shows it, if there is one."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    lines = [_part(role, part) for role, part in found["parts"].items()]
    lines.append(
        "better, worse: the intervals are disjoint (one seed), or the difference stands over the seeds; "
        "no difference: none is shown"
    )
    lines += [str(file.with_name(found["page"]))] if found["page"] else []
    return "\n".join(lines)


def _part(role: str, part: Mapping[str, Any]) -> str:
    less = "" if part["higher_is_better"] else ", less is better"
    best, *others = part["baselines"].items()
    cost = part["cost"]
    lines = [
        f"{role}: {DID[role]}",
        f"    {part['env']}, {part['unit']}{less} ({part['of']}; intervals of 95 %)",
        f"    {part['contender']} {interval(part['figure'])} against {best[0]} {interval(best[1])}: "
        f"{part['verdict'].upper()}" + (f", {part['because']}" if part["because"] else ""),
    ]
    if others:
        lines.append(
            "    and " + ", ".join(f"{name} {interval(figure)}" for name, figure in others)
        )
    lines.append(
        f"    {cost['calls']:.0f} calls, {cost['tokens']:.0f} tokens, {cost['seconds']:.0f} seconds "
        f"({cost['cpu']:.0f} of a processor)"
    )
    return "\n".join(lines)
