"""An own study: people who are nudged to walk. Its declaration, its data, people played from them.

The data here are made up; put your own CSV in their place, and what its columns are called in the
study's [columns].

    python examples/own_cohort.py [--debug]
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

import understudy

STUDY = """
name = "walking"
words = "A two-week study. An app may nudge people to walk, at noon and in the evening."
parts = ["noon", "evening"]
days = 14

[columns]
person = "who"
day = "day"
part = "part"
action = "action"
reward = "reward"

[[actions]]
name = "none"
words = "nothing is sent"
message = false

[[actions]]
name = "nudge"
words = "a message that proposes a walk"
message = true

[reported.walks]
kind = "whole"
low = 0
high = 4
words = "walks since the last moment"

[derived.walksToday]
rule = "sum"
of = "walks"
words = "walks today"

[[reward]]
weight = 1.0
value = "walksToday"

[state]
today = ["walksToday"]
yesterday = ["walksToday"]
since = []
last_actions = 1
"""


def write_people(path: Path, people: int) -> None:
    """One row a decision: who, when, what was sent, how many walks today, and what that is worth."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["who", "day", "part", "action", "walksToday", "reward"])
        for person in range(people):
            fond = rng.uniform(0.2, 0.6)
            for day in range(14):
                today = 0
                for part in ("noon", "evening"):
                    action = int(rng.integers(2))
                    today += int(rng.binomial(4, min(1.0, fond + 0.2 * action)))
                    table.writerow([person, day, part, action, today, float(today)])


def main(debug: bool) -> None:
    Path("walking.toml").write_text(STUDY)
    write_people(Path("people.csv"), 12)
    understudy.launch("simulator profile", data="people.csv", study="walking.toml")
    run = understudy.launch(
        "simulator generate",
        study="walking.toml",
        source={"data": "people.csv"},
        people=4,
        ask={"style": "short"},
        debug=debug,
    )
    understudy.launch(
        "simulator assess", cohort=run, data="people.csv", study="walking.toml", debug=debug
    )
    print(json.loads((run / "fidelity.json").read_text())["discriminator"])  # 0.5: cannot tell


if __name__ == "__main__":
    main("--debug" in sys.argv)
