"""A scripted expert teaches a small PPO student to open doors, and falls silent as it learns.

python examples/teach_a_student.py [--steps 2000]
"""

import sys
from contextlib import ExitStack

from understudy.roles.teacher.config import TeacherConfig
from understudy.roles.teacher.setup import make_optimizer, make_student, make_teacher, make_world
from understudy.roles.teacher.summary import describe
from understudy.roles.teacher.train import train
from understudy.run.config import load
from understudy.run.run import Run


def main(args: list[str]) -> None:
    small = ["--steps", "40000", "--distill.steps", "40000", "--advice.who", "expert"]
    config = load(TeacherConfig, ["--env", "SimpleDoorKey", *small, *args])
    world, held_out = make_world(config, config.envs), make_world(config, config.eval_episodes)
    with Run.create("teacher", config.env, config, config.run) as run, ExitStack() as stack:
        student = make_student(config, world, run.seeds)
        parts = {"student": student, "optimizer": make_optimizer(student, config)}
        teacher = make_teacher(config, world, run, stack)
        train(config, run, world=world, held_out=held_out, teacher=teacher, **parts)
    print(describe(run.path))


if __name__ == "__main__":
    main(sys.argv[1:])
