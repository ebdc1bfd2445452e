"""A toy role, run as a script where signals or a second process are needed.

A random walk whose state is one tensor and one generator: enough to tell a resumed run from one
that was never stopped, to the last bit.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch

from tests.run.configs import ToyConfig
from understudy.cli import Command, main
from understudy.run.run import Run


def train(config: ToyConfig) -> Path:
    with Run.create("toy", config.env, config, config.run, command=["toy"]) as run:
        walk, first = torch.zeros(8), 1
        if found := run.restore():
            walk, first = found.tensors["walk"]["x"], found.step + 1
        for step in range(first, config.steps + 1):
            noise = run.seeds.generator("noise", step).standard_normal(8)
            walk = walk * 0.99 + torch.from_numpy(noise).float()
            run.log(step, {"mean": float(walk.mean())}, {"seconds": time.monotonic()})
            time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
            if (
                step % config.run.checkpoint_every == 0
                or step == config.steps
                or run.stop_requested
            ):
                run.checkpoint(step, {"walk": {"x": walk}}, {"walk": json.dumps(walk.tolist())})
            if run.stop_requested:
                break
            if step == 1:
                (run.path / "media" / "started").touch()
        return run.path


def broken(config: ToyConfig) -> Path:
    raise ZeroDivisionError("a mistake of ours keeps its traceback")


COMMANDS = {
    "toy train": Command("Trains a toy.", lambda: ToyConfig, train, resumable=True),
    "toy break": Command("Breaks.", lambda: ToyConfig, broken),
}

if __name__ == "__main__":
    sys.exit(main(commands=COMMANDS))
