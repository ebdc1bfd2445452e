"""The calculator that writes into an answer: after `<<12*3=` it adds `36>>`."""

from __future__ import annotations

import re

from understudy.envs.arithmetic import MAX_TEXT, evaluate, show

_OPEN = re.compile(rf"<<([^<>=\n]{{1,{MAX_TEXT}}})=$")
TRIGGERS = ("=",)
"""Texts after which the calculator may have something to write."""


def calculate(expression: str) -> str | None:
    """The value of an arithmetic expression as a person writes it; None if it is not one."""
    value = evaluate(expression)
    return None if value is None else show(value)


def interject(text: str) -> str:
    """What the calculator writes after `text`: the result and `>>`, or nothing.

    An expression it cannot read gets nothing, and the model goes on by itself.
    """
    found = _OPEN.search(text[-MAX_TEXT - 3 :])
    result = calculate(found[1]) if found else None
    return "" if result is None else f"{result}>>"
