"""The LM is the simulator: it plays people from aggregates; policies are learnt on them and judged."""

import json
import sys

import understudy

run = understudy.launch("simulator run", debug="--debug" in sys.argv)
print(json.loads((run / "truth.json").read_text()))  # [value, standard error] of each policy
