"""A grid's table as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.run.progress import significant, with_interval

LEGEND = """\
IQM: interquartile mean over the seeds; intervals of 95 % by the bootstrap of seeds. P(better): the probability that a run of the
first is better than one of the second, ties half. A difference is called real only if its interval leaves out 0 and an exact rank
test agrees at 5 %, corrected over all pairs of the table (Holm). area: mean of the learning curve over the steps that all had.
reached: median spent until the curve came to the best figure without a language model, and how many runs did. Costs: means a run."""


def describe(file: Path) -> str:
    """The table that lies beside its JSON file."""
    return file.with_suffix(".txt").read_text(encoding="utf-8").rstrip()


def text(found: Mapping[str, Any]) -> str:
    """The table, for a person."""
    blocks = [_place(place) for place in found["places"]]
    blocks += [_role(role) for role in found["roles"]]
    if found["left_out"]:
        blocks.append(f"Left out, as unfinished: {', '.join(found['left_out'])}")
    return "\n\n".join([*blocks, LEGEND])


def _place(place: Mapping[str, Any]) -> str:
    spent = "" if place["spent"] is None else f", curves over {place['spent']}"
    better = "" if place["higher_is_better"] else ", less is better"
    names = [one["name"] for one in place["contenders"]]
    width = max(len(name) for name in names)
    lines = [
        f"{place['role']} in {place['env']}: {place['unit']}{better}{spent}",
        f"{'':{width}}  {'seeds':>5}  {'IQM':<28} {'area':>8}  {'reached':>14}  "
        f"{'calls':>7} {'tokens':>8} {'usd':>8} {'seconds':>8}",
    ]
    lines += [_contender(one, width) for one in place["contenders"]]
    return "\n".join([*lines, *_differences(place["differences"])])


def _contender(one: Mapping[str, Any], width: int) -> str:
    area = "" if one["area"] is None else significant(one["area"], 4)
    reached = ""
    if one["reached"] is not None:
        spent, of = one["reached"]["spent"], len(one["seeds"])
        reached = f"{'never' if spent is None else f'{spent:g}'} ({one['reached']['runs']}/{of})"
    line = (
        f"{one['name']:{width}}  {len(one['seeds']):>5}  {interval(one['iqm']):<28} {area:>8}  "
        f"{reached:>14}"
    )
    cost = one["cost"]
    if cost is None:
        return line.rstrip()
    return (
        f"{line}  {cost['calls']:>7.0f} {cost['tokens']:>8.0f} {cost['usd']:>8.4f} "
        f"{cost['seconds']:>8.1f}"
    )


def _differences(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for pair in pairs:
        because = f": {pair['because']}" if pair["because"] else ""
        lines.append(
            f"  {pair['first']} against {pair['second']}: {interval(pair['difference'], '+')}, "
            f"P(better) {interval(pair['improvement'])}, p {pair['p']:.3g}: "
            f"{pair['verdict']}{because}"
        )
    return lines


def _role(role: Mapping[str, Any]) -> str:
    width = max(len(one["name"]) for one in role["contenders"]) if role["contenders"] else 0
    lines = [f"{role['role']} over {', '.join(role['envs'])}: {role['unit']}"]
    lines += [f"{one['name']:{width}}  {interval(one['iqm'])}" for one in role["contenders"]]
    return "\n".join([*lines, *_differences(role["differences"])])


def interval(found: Mapping[str, float], sign: str = "") -> str:
    """A figure with its interval; with `sign` "+" all have signs."""
    return with_interval(found["value"], found["low"], found["high"], 4, sign)
