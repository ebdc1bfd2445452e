"""An estimate as text."""

from __future__ import annotations

from understudy.plan.estimate import Estimate


def describe(found: Estimate) -> str:
    """For a person."""
    lines = ["language model  none"]
    if found.lm is not None:
        money = "price not in lm/prices.toml" if found.usd is None else f"about ${found.usd:.4f}"
        lines = [
            f"language model  {found.lm}",
            f"         calls  about {found.calls:,}",
            f"        tokens  about {found.prompt_tokens:,} read, ≤ {found.completion_tokens:,} written",
            f"         money  {money}",
        ]
    if found.steps:
        lines.append(f"   environment  {found.steps:,} steps, {found.updates:,} updates")
    if found.memory:
        lines.append(f"        memory  {size(sum(found.memory.values()))}")
        lines += [f"                {size(n):>9}  {what}" for what, n in found.memory.items()]
    return "\n".join([*lines, *found.notes])


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
