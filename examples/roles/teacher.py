"""The LM is the teacher: a small PPO student follows its advice, which fades."""

import sys

import understudy

debug = "--debug" in sys.argv
steps = 512 if debug else 60_000
run = understudy.launch("teacher train", env="SimpleDoorKey", steps=steps, debug=debug)
print(understudy.read_metrics(run)[-1]["test/success"])
