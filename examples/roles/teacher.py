"""The LM is the teacher: a small PPO student follows its advice, which fades."""

import sys

import understudy

run = understudy.launch(
    "teacher train", env="SimpleDoorKey", steps=60_000, debug="--debug" in sys.argv
)
print(understudy.read_metrics(run)[-1]["test/success"])
