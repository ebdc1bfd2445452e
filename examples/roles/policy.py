"""The LM is the policy: the bundled model learns arithmetic by RL."""

import sys

import understudy

debug = "--debug" in sys.argv
rounds = 2 if debug else 20
run = understudy.launch("policy train", env="word-problems", iterations=rounds, debug=debug)
for row in understudy.read_metrics(run):
    print(row["step"], row.get("reward"))
