"""Saves checkpoints in child processes that are killed; run as a script, so that torch loads once.

Each child saves steps n, n + 1, … until SIGKILL. The survivors' newest step is printed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from understudy.run.checkpoint import load, save


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "weights": {f"layer{i}": torch.full((64, 64), float(step * 10 + i)) for i in range(4)},
        "optimizer": {"moments": torch.arange(5000) + step},
    }


def main(folder: Path, kills: int) -> None:
    rng = random.Random(0)
    torn = 0
    for _ in range(kills):
        found = load(folder)
        child = os.fork()
        if child == 0:
            step = found.step if found else 0
            while True:
                step += 1
                save(folder, step, tensors(step), {"step": step})
        time.sleep(rng.uniform(0.01, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after = load(folder)
        torn += any(folder.glob(".tmp-*"))
        if after is None:
            continue
        assert after.step >= (found.step if found else 0)
        assert after.state == {"step": after.step}
        assert not after.problems
        expected = tensors(after.step)
        for group, named in expected.items():
            for name, value in named.items():
                assert torch.equal(after.tensors[group][name], value)
    final = load(folder)
    print(final.step if final else 0, torn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
