"""The LM is the optimizer: it proposes a policy's parameters from the returns of earlier ones."""

import sys

import understudy

run = understudy.launch(
    "optimizer train", env="CartPole-v1", budget={"episodes": 200}, debug="--debug" in sys.argv
)
for row in understudy.read_metrics(run):
    print(row["episodes"], row["best"])
