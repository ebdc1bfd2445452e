"""PPO of the teacher role against stable-baselines3's, in one run, on one thread.

    python benchmarks/teacher_ppo.py [seeds]

1. MiniGrid-DoorKey-5x5-v0, unmodified, the same 8 environments: environment steps until 95 % of the
   last 100 episodes succeed, and steps per CPU-second of the whole training. stable-baselines3 has
   the flattened 7 × 7 view and settings under which it learns well (8 environments, 128 steps,
   batch 256, 4 epochs, rate 1e-3, entropy 0.01); ours has 3 epochs at 1.5e-3.
2. SimpleDoorKey as a batch of 128, with settings for speed that learn as well by the step: steps per
   CPU-second of the whole training, alone and with the scripted teacher advising every step, and the
   teacher's share of the time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import minigrid  # registers its levels
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from understudy.roles.teacher.config import AdviceConfig, DistillConfig, TeacherConfig
from understudy.roles.teacher.schedule import weight
from understudy.roles.teacher.setup import make_optimizer, make_student, make_teacher, make_world
from understudy.roles.teacher.update import prepare, update
from understudy.rollout.steps import Stage, collect_steps
from understudy.run.config import RunConfig
from understudy.run.run import Run

LEVEL = "MiniGrid-DoorKey-5x5-v0"
SOLVED, WINDOW = 0.95, 100
LIMIT = 100_000
OURS = TeacherConfig(
    env=LEVEL,
    method="ppo",
    envs=8,
    horizon=128,
    minibatch=256,
    epochs=3,
    learning_rate=1.5e-3,
    steps=LIMIT,
    distill=DistillConfig(weight=0.0),
)
BATCH = TeacherConfig(
    envs=128, horizon=16, minibatch=1024, epochs=3, learning_rate=2e-3, steps=40_960
)


class Flat(gym.ObservationWrapper):
    """The 7 × 7 view as 147 numbers."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0, 2, (147,), np.float32)

    def observation(self, observation):
        return observation["image"].reshape(-1).astype(np.float32) / 10


class UntilSolved(BaseCallback):
    """Stops when the last episodes succeed."""

    def __init__(self):
        super().__init__()
        self.last = deque(maxlen=WINDOW)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.last.append(info["episode"]["r"] > 0)
        return len(self.last) < WINDOW or np.mean(self.last) <= SOLVED


def theirs(seed: int) -> dict[str, float]:
    made = [lambda: Monitor(Flat(gym.make(LEVEL)))] * 8
    envs = DummyVecEnv(made)
    model = PPO(
        "MlpPolicy", envs, n_steps=128, batch_size=256, n_epochs=4, learning_rate=1e-3,
        ent_coef=0.01, seed=seed, device="cpu",
    )  # fmt: skip
    begun = time.process_time()
    model.learn(LIMIT, callback=UntilSolved())
    seconds = time.process_time() - begun
    return {"seed": seed, "steps": model.num_timesteps, "per_second": model.num_timesteps / seconds}


def ours(config: TeacherConfig, *, until_solved: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        where = replace(config, run=RunConfig(root=folder, progress=False))
        run = stack.enter_context(Run.create("teacher", config.env, where, where.run))
        world = make_world(config, config.envs)
        student = make_student(config, world, run.seeds)
        optimizer = make_optimizer(student, config)
        teacher = None
        spent = [0.0]
        if config.method != "ppo":
            asked = make_teacher(config, world, run, stack)

            def teacher(observation):
                begun = time.process_time()
                advice = asked(observation)
                spent[0] += time.process_time() - begun
                return advice

        stage = Stage.begin(world, config.seed, student.start(world.rows))
        last, steps = deque(maxlen=WINDOW), 0
        begun = time.process_time()
        while steps < config.steps:
            rng = run.seeds.generator("acting", steps)
            now = weight(config.distill, steps) if teacher else 0.0
            segment = collect_steps(stage, student, config.horizon, rng, teacher)
            update(student, optimizer, prepare(segment, None, config), config, now, rng)
            steps += config.horizon * world.rows
            last.extend(value > 0 for value in segment.returns)
            if until_solved and len(last) == WINDOW and np.mean(last) > SOLVED:
                break
        seconds = time.process_time() - begun
    return {
        "seed": config.seed, "steps": steps, "per_second": steps / seconds,
        "teacher_share": spent[0] / seconds,
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    result: dict[str, object] = {
        "versions": {"minigrid": minigrid.__version__, "torch": torch.__version__}
    }
    pairs = [(ours(replace(OURS, seed=s), until_solved=True), theirs(s)) for s in seeds]
    result["doorkey"] = [{"ours": mine, "stable_baselines3": other} for mine, other in pairs]
    result["speed_ratio"] = float(
        np.mean([a["per_second"] for a, _ in pairs]) / np.mean([b["per_second"] for _, b in pairs])
    )
    expert = replace(BATCH, advice=AdviceConfig(who="expert"))
    result["batch"] = {
        "ppo": ours(replace(BATCH, method="ppo"), until_solved=False),
        "ppo+teacher": ours(expert, until_solved=False),
    }
    peer = np.mean([b["per_second"] for _, b in pairs])
    result["batch_ratio"] = {k: v["per_second"] / peer for k, v in result["batch"].items()}
    print(json.dumps(result, indent=1))
    out = Path(__file__).parent / "results" / "teacher_ppo.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
