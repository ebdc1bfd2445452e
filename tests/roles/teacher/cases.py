"""Small worlds, students and segments to test the teacher role with."""

import numpy as np
import torch

from understudy.envs.grid.codes import AGENT, DOOR, NOBODY
from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.setup import make_student, make_world
from understudy.roles.teacher.student import Student, VectorEncoder, initialise
from understudy.rollout.steps import Segment, Stage, collect_steps
from understudy.run.seed import Seeds


def maps(rng, n, width, height, share=0.6):
    """Random remembered maps, uint8 [n, W, H, 4], the agent in each."""
    image = np.zeros((n, width, height, 4), np.uint8)
    image[..., 0] = rng.integers(1, AGENT, (n, width, height))
    image[..., 1] = rng.integers(0, 6, (n, width, height))
    image[..., 2] = np.where(image[..., 0] == DOOR, rng.integers(0, 3, (n, width, height)), 0)
    image[rng.random((n, width, height)) > share] = 0
    image[..., 3] = NOBODY
    for i in range(n):
        x, y = rng.integers(0, width), rng.integers(0, height)
        image[i, x, y] = [rng.choice([1, 5]), rng.integers(0, 6), 0, rng.integers(0, 4)]
    return image


def vector_student(seed=0, *, seen=3, actions=4, recurrent=False):
    """A student of vectors, whose policy is far from uniform."""
    student = Student(VectorEncoder("own", seen, 8), actions, width=8, recurrent=recurrent)
    initialise(student, np.random.default_rng(seed))
    with torch.no_grad():
        student.actor[-1].weight.mul_(60)
    return student


def segment(student, rng, steps=6, rows=4, seen=3, actions=4, ends=0.3):
    """Random experience of such a student, with a random teacher."""

    def normal(*shape):
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    ended = torch.from_numpy(rng.random((steps, rows)) < ends)
    features = {"own": normal(steps, rows, seen)}
    starts = torch.cat([torch.zeros(1, rows, dtype=torch.bool), ended[:-1]])
    hidden = normal(*student.start(rows).shape)
    with torch.no_grad():
        outlook = student.unroll(features, hidden, starts)
    return Segment(
        features=features, starts=starts, hidden=hidden, logits=outlook.logits, values=outlook.values,
        actions=torch.from_numpy(rng.integers(0, actions, (steps, rows))), next_values=normal(steps, rows),
        rewards=normal(steps, rows), terminated=ended, ended=ended,
        teacher=torch.from_numpy(rng.dirichlet(np.ones(actions), (steps, rows)).astype(np.float32)),
    )  # fmt: skip


def played(steps=8, **settings):
    """A world's segment under a fresh student: (config, student, segment)."""
    config = TeacherConfig(**{"env": "SimpleDoorKey", "envs": 3, **settings})
    world = make_world(config, config.envs)
    student = make_student(config, world, Seeds(0))
    stage = Stage.begin(world, 0, student.start(world.rows))
    return config, student, collect_steps(stage, student, steps, np.random.default_rng(0))
