"""The LM is the optimizer: it proposes a policy's parameters from the returns of earlier ones."""

import sys

import understudy

debug = "--debug" in sys.argv
budget = {"episodes": 40 if debug else 200}
run = understudy.launch("optimizer train", env="CartPole-v1", budget=budget, debug=debug)
for row in understudy.read_metrics(run):
    print(row["episodes"], row["best"])
