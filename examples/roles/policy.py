"""The LM is the policy: the bundled model learns arithmetic by RL."""

import sys

import understudy

run = understudy.launch(
    "policy train", env="word-problems", iterations=20, debug="--debug" in sys.argv
)
for row in understudy.read_metrics(run):
    print(row["step"], row.get("reward"))
