"""The questions a teacher asks: plans for scenes in a grid, goals for agents in a particle world."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import BaseModel, Field, create_model

from understudy.envs.grid import expert
from understudy.envs.grid.plan_task import question as plan_prompt
from understudy.envs.grid.plans import (
    ALONE,
    EXPLORE,
    INSTRUCTIONS,
    MAX_STEPS,
    WITH_OBJECT,
    PlanError,
    Step,
    candidates,
    read,
    write,
)
from understudy.envs.grid.scene import Words
from understudy.envs.mpe.plan_task import question as goal_prompt
from understudy.envs.mpe.words import goals
from understudy.envs.mpe.world import Task
from understudy.lm.base import Choices
from understudy.roles.teacher.planner import Question

GOAL_INSTRUCTIONS = "You are one of several agents that move in a square. Choose your goal; a skill will walk there.\n"


def for_plan(mission: str, words: Words) -> Question:
    """What to do in a scene of a grid."""

    def understood(value: Any) -> str | None:
        steps = [Step(s.verb, "" if s.verb in ALONE else s.object) for s in value.steps]
        try:
            return write(read(write(tuple(steps)), words.objects))
        except PlanError:
            return None

    return Question(
        text=words.text,
        prompt=plan_prompt(words, instructions=False),
        instructions=INSTRUCTIONS,
        options=tuple(write(plan) for plan in candidates(words.objects, words.held)),
        schema=_plan_form(words.objects),
        read=understood,
        expert=lambda: write(expert.plan(mission, words)),
        fallback=write(EXPLORE),
    )


@cache
def _plan_form(objects: tuple[str, ...]) -> type[BaseModel]:
    """A list of steps, each a verb and, where it takes one, an object that is there."""
    verbs = ALONE + (WITH_OBJECT if objects else ())
    names = ("none", *objects)
    verb: Any = StrEnum("Verb", {verb: verb for verb in verbs})
    thing: Any = StrEnum("Object", {name: name for name in names})
    step: Any = create_model("Step", verb=(verb, ...), object=(thing, ...))
    steps: Any = list[step]
    return create_model("PlanReply", steps=(steps, Field(min_length=1, max_length=MAX_STEPS)))


def goal_text(task: Task, agent: str, seen: str, heard: str = "") -> str:
    """What an agent of an MPE task sees, and what the others said they would do, as a question."""
    return goal_prompt(task, agent, f"{seen} {heard}".strip())


def for_goal(task: Task, agent: str, text: str, expert_goal: int) -> Question:
    """What an agent of an MPE task goes for.

    Args:
        task: the task.
        agent: who chooses.
        text: `goal_text` of it.
        expert_goal: the scripted expert's choice.
    """
    known = goals(task, agent)
    listed = f"Goals: {', '.join(known)}.\n"
    return Question(
        text=text,
        prompt=text,
        instructions=f"{GOAL_INSTRUCTIONS}{_PURPOSE[task.name]} {listed}",
        options=known,
        schema=Choices(known),
        read=lambda value: value if value in known else None,
        expert=lambda: known[expert_goal],
        fallback=known[-1],
    )


_PURPOSE = {
    "simple_spread": "Together the agents should stand on all landmarks and not bump into each other.",
    "simple_tag": "Adversaries want to touch the prey, which is faster; the prey wants to get away.",
    "simple_speaker_listener": "The speaker alone knows the landmark that the listener must reach.",
}
