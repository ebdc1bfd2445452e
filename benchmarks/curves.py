"""The figures of docs/results.md from the runs of `understudy policy compare`.

    understudy policy compare --config recipes/compare.toml
    python benchmarks/curves.py runs/policy/word-problems

Writes benchmarks/results/compare.json (evaluations and curves) and docs/img/compare.png.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from understudy.roles.policy.summary import describe_comparison
from understudy.run.info import read_info
from understudy.run.metrics import read

HERE = Path(__file__).parent
COLOURS = {"reinforce": "#0072b2", "rloo": "#009e73", "grpo": "#d55e00", "supervised": "#777777"}


def main(folder: Path) -> None:
    rows = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    for row in rows:
        run = folder / Path(row.pop("run")).name
        metrics = read(run / "metrics.jsonl")
        row["reward"] = [line["reward"] for line in metrics if "reward" in line]
        row["accuracy"] = [
            (line["step"], line["test/accuracy"]) for line in metrics if "test/accuracy" in line
        ]
    info = read_info(run)
    result = {
        "command": "understudy policy compare --config recipes/compare.toml",
        "versions": info.versions,
        "threads": info.threads,
        "runs": rows,
    }
    out = HERE / "results" / "compare.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(rows, HERE.parent / "docs" / "img" / "compare.png")
    print(describe_comparison(folder / "compare.json"))


def draw(rows: list[dict], path: Path) -> None:
    """Training reward by iteration, and held-out accuracy before and after with its intervals."""
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for row in rows:
        if row["reward"]:
            kept = row["reward"]
            smooth = [
                sum(kept[max(0, i - 4) : i + 1]) / len(kept[max(0, i - 4) : i + 1])
                for i in range(len(kept))
            ]
            left.plot(range(1, len(kept) + 1), smooth, color=COLOURS[row["algorithm"]], alpha=0.8)
    left.set(xlabel="iteration (64 answers)", ylabel="training reward, mean of 5", ylim=(0, 1))
    algorithms = list(dict.fromkeys(row["algorithm"] for row in rows))
    for i, algorithm in enumerate(algorithms):
        mine = [row for row in rows if row["algorithm"] == algorithm]
        left.plot([], [], color=COLOURS[algorithm], label=algorithm)
        for j, (name, marker) in enumerate((("test", "o"), ("hard", "s"))):
            for k, row in enumerate(mine):
                for when, fill in (("before", "none"), ("after", COLOURS[algorithm])):
                    n = row[name][when]
                    x, y = i + 0.4 * j - 0.2 + 0.08 * k, n["accuracy"]
                    bars = [[y - n["accuracy_low"]], [n["accuracy_high"] - y]]
                    right.errorbar(
                        x, y, yerr=bars, fmt=marker, mfc=fill, color=COLOURS[algorithm], ms=5
                    )
    right.set_xticks(range(len(algorithms)), algorithms)
    right.set(ylabel="held-out accuracy", ylim=(0, 1.02))
    right.plot([], [], "ko", mfc="none", label="before")
    right.plot([], [], "ko", label="after, 1-3 steps")
    right.plot([], [], "ks", label="after, 4-6 steps")
    left.legend(frameon=False)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
