"""A simulator's run: how faithful its people are, and what policies were found to be worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.report.chart import Axes, Charts, Line, interval_bar
from understudy.report.html import Element, Node, el
from understudy.report.numbers import is_number, number
from understudy.report.read import RunRecord
from understudy.report.table import Cell, estimate, table

NEAR = 1.5
"""Distances up to so many times the noise between two halves of the real people are noise."""


def fidelity(run: RunRecord, charts: Charts) -> Element | None:
    """Simulators side by side, then the details of the first."""
    found = run.documents.get("fidelity.json")
    if not found:
        return None
    reports: dict[str, Any] = {"cohort": found} if "variables" in found else found
    name, report = next(iter(reports.items()))
    headers = ["simulator", "category coverage", "variables within noise",
               "told apart from real (AUC)", "responses inside the real interval",
               "rules broken"]  # fmt: skip
    return el(
        "div",
        table("Fidelity by simulator", headers, [_summary(*item) for item in reports.items()]),
        el("p", el("small", "Within noise: the Kolmogorov–Smirnov distance is at most 1.5 times that between two "
           "halves of the real people. AUC 0.5: a classifier cannot tell them from real people; 1: always.")),
        _staying(report, charts),
        _variables(name, report),
        _effects(name, report),
    )  # fmt: skip


def _summary(name: str, report: Mapping[str, Any]) -> list[Cell | str | float | None]:
    ratios = [v["compared"]["distances"]["ks"]["ratio"] for v in report["variables"].values()]
    near = sum(ratio is not None and ratio <= NEAR for ratio in ratios)
    inside = sum(effect["inside"] for effect in report["effects"])
    auc = report["discriminator"]["auc"]
    broken = sum(share < 1 for _, share in report["rules"].values())
    return [
        name,
        report["coverage"],
        Cell(f"{near} of {len(ratios)}", near),
        estimate(auc["value"], auc["low"], auc["high"]),
        Cell(f"{inside} of {len(report['effects'])}", inside),
        Cell(f"{broken} of {len(report['rules'])}", broken),
    ]


def _staying(report: Mapping[str, Any], charts: Charts) -> Node:
    curves = report.get("curves")
    if not curves:
        return None
    lines = [
        Line(who, list(enumerate(map(float, curve), 1)))
        for who, curve in zip(("real", "synthetic"), curves, strict=True)
    ]
    axes = Axes("People still taking part", "day or step of the study", share=True, height=180)
    return charts.draw(lines, axes)


def _variables(name: str, report: Mapping[str, Any]) -> Element:
    rows: list[list[Cell | str | float | None]] = []
    for variable, found in report["variables"].items():
        ks = found["compared"]["distances"]["ks"]
        bar = interval_bar(ks["value"], ks["low"], ks["high"], (0.0, 1.0), ks["floor"])
        rows.append(
            [variable, estimate(ks["value"], ks["low"], ks["high"]), Cell(bar), ks["floor"],
             ks["ratio"]]
        )  # fmt: skip
    headers = ["variable", "KS distance", "from 0 to 1; mark: noise", "noise floor", "times the noise"]  # fmt: skip
    return table(f"Distances between real and synthetic people: {name}", headers, rows)


def _effects(name: str, report: Mapping[str, Any]) -> Element | None:
    rows: list[list[Cell | str | float | None]] = [
        [
            f"{effect['measure']} after {effect['action']}",
            estimate(*(effect["real"][key] for key in ("value", "low", "high"))),
            estimate(*(effect["synthetic"][key] for key in ("value", "low", "high"))),
            "inside" if effect["inside"] else "outside",
        ]
        for effect in report["effects"]
    ]
    if not rows:
        return None
    headers = ["effect of an action", "real", "synthetic", "synthetic value in the real interval"]
    return el(
        "details",
        el("summary", f"Effects of actions: {name}"),
        table(f"What each action does to what is reported next: {name}", headers, rows),
    )


def verdict(run: RunRecord) -> Element | None:
    """What the policies are worth off-policy, and what is true where that is known."""
    found = run.documents.get("verdict.json")
    if not found:
        return None
    truth: Mapping[str, Any] = run.documents.get("truth.json") or {}
    primary, policies = found["primary"], found["policies"]
    limits = _limits(policies, primary, truth)
    rows = [_policy(policy, primary, limits, truth) for policy in policies]
    headers = ["policy", f"value ({primary}, 95 %)", "interval; mark: truth", "true value",
               "effective people", "judged"]  # fmt: skip
    return el(
        "div",
        el("p", el("strong", str(found["summary"]))),
        table(
            f"Policies judged off-policy on {found['people']} people, {found['decisions']} decisions",
            headers,
            rows,
        ),
    )


def _limits(policies: Any, primary: str, truth: Mapping[str, Any]) -> tuple[float, float]:
    ends = [policy["values"][primary][key] for policy in policies for key in ("low", "high")]
    ends += [value for value, _ in truth.values()]
    known = [float(end) for end in ends if is_number(end)] or [0.0, 1.0]
    return min(known), max(known)


def _policy(
    policy: Mapping[str, Any], primary: str, limits: tuple[float, float], truth: Mapping[str, Any]
) -> list[Cell | str | float | None]:
    value = policy["values"][primary]
    true, error = truth.get(policy["name"], (None, 0.0))
    known = all(is_number(value[key]) for key in ("value", "low", "high"))
    why = "; ".join(policy["reasons"])
    return [
        policy["name"],
        estimate(value["value"], value["low"], value["high"]) if known else None,
        Cell(interval_bar(value["value"], value["low"], value["high"], limits, true))
        if known
        else None,
        None if true is None else Cell(f"{number(true)} ± {number(1.96 * error)}", true),
        math.floor(10 * value["effective"]) / 10,
        "yes" if policy["supported"] else f"cannot tell: {why}" if why else "cannot tell",
    ]
