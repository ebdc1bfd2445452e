"""The same forward pass as `llama`, over one flat sequence of real tokens: nothing is padded but attention.

All prompts and completions lie one behind the other, so that every linear layer, norm and feed-forward
sees real tokens only. Attention is within a prompt, or from a completion to its prompt and to itself: sequences
of nearly equal length are attended to together, padded to the longest of their bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

RATIO = 1.25
"""The longest sequence of a bucket is at most this many times its shortest."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sequences attended to together: b of them, with l queries and k keys each."""

    queries: Tensor
    """[b · l] places of the tokens that ask; 0 where there is none."""
    keys: Tensor
    """[b · k] places of the tokens that are looked at; 0 where there is none."""
    visible: Tensor | None
    """[b, 1, l, k] who sees whom; None is causal."""
    real: Tensor
    """[tokens] where among b · l the real queries are."""
    rows: int


@dataclass(frozen=True, slots=True)
class Packed:
    """U prompts and the completions [U][G] that follow them, flat."""

    ids: Tensor
    """[N] all tokens that are fed: prompts, and completions without their last."""
    positions: Tensor
    """[1, N] of each in its sequence."""
    buckets: tuple[Bucket, ...]
    """Their real queries, one bucket behind the other, are the N tokens in order."""
    predicting: Tensor
    """[M] the token whose hidden state predicts each token of the completions, row by row."""
    predicted: Tensor
    """[M] those tokens."""


def pack(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    device: torch.device,
) -> Packed:
    """Lays prompts and completions out; rows that have no token are left out."""
    rows = [(u, row) for u, group in enumerate(completions) for row in group]
    firsts = list(range(len(prompts)))
    fed = [row[:-1] for _, row in rows]
    orders = [_buckets(prompts, firsts), _buckets(fed, [b for b, r in enumerate(fed) if r])]
    laid = [prompts[u] for part in orders[0] for u in part]
    laid += [fed[b] for part in orders[1] for b in part]
    starts = iter([0, *accumulate(map(len, laid))])
    prompt_at = {u: next(starts) for part in orders[0] for u in part}
    own_at = {b: next(starts) for part in orders[1] for b in part}
    positions = [range(len(prompts[u])) for part in orders[0] for u in part]
    positions += [
        range(len(prompts[rows[b][0]]), len(prompts[rows[b][0]]) + len(fed[b]))
        for part in orders[1]
        for b in part
    ]
    buckets = [
        _bucket([(range(0), _span(prompt_at[u], prompts[u])) for u in part], device)
        for part in orders[0]
    ]
    for part in orders[1]:
        spans = [
            (_span(prompt_at[rows[b][0]], prompts[rows[b][0]]), _span(own_at[b], fed[b]))
            for b in part
        ]
        buckets.append(_bucket(spans, device))
    predicting: list[int] = []
    for b, (u, row) in enumerate(rows):
        last = prompt_at[u] + len(prompts[u]) - 1
        predicting += [last, *_span(own_at[b], fed[b])] if len(row) > 1 else [last] * len(row)

    def flat(parts: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([i for part in parts for i in part], dtype=torch.long).to(device)

    return Packed(
        flat(laid), flat(positions)[None], tuple(buckets), flat([predicting]),
        flat([row for _, row in rows]),
    )  # fmt: skip


def _span(start: int, row: Sequence[int]) -> range:
    return range(start, start + len(row))


def _buckets(rows: Sequence[Sequence[int]], chosen: Sequence[int]) -> list[list[int]]:
    """The chosen rows by length, cut where the next is more than `RATIO` times the shortest."""
    found: list[list[int]] = []
    for index in sorted(chosen, key=lambda i: len(rows[i])):
        if found and len(rows[index]) <= RATIO * len(rows[found[-1][0]]):
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _bucket(spans: Sequence[tuple[range, range]], device: torch.device) -> Bucket:
    """Of sequences as (the prompt's places, the sequence's own places)."""
    before = max(len(past) for past, _ in spans)
    length = max(len(own) for _, own in spans)

    def padded(row: range, wide: int) -> list[int]:
        return [*row, *[0] * (wide - len(row))]

    queries = torch.tensor([padded(own, length) for _, own in spans], dtype=torch.long)
    asked = torch.tensor([padded(past, before) for past, _ in spans], dtype=torch.long)
    lengths = torch.tensor([len(own) for _, own in spans])
    real = (torch.arange(length) < lengths[:, None]).flatten().nonzero()[:, 0]
    visible = None
    if before:
        # A query that is padding sees itself: a row without any key would be NaN.
        known = torch.arange(before) < torch.tensor([len(past) for past, _ in spans])[:, None]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        seen = known[:, None, None].expand(-1, 1, length, -1)
        visible = torch.cat([seen, causal.expand(len(spans), 1, -1, -1)], -1).to(device)
    keys = torch.cat([asked, queries], 1)
    return Bucket(
        queries.flatten().to(device), keys.flatten().to(device), visible, real.to(device),
        len(spans),
    )  # fmt: skip


def attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, packed: Packed) -> Tensor:
    """Attention [N, H·d] of queries [N, H, d] to keys and values [N, KVH, d], bucket by bucket."""
    found: list[Tensor] = []
    for bucket in packed.buckets:

        def rows(x: Tensor, places: Tensor, count: int = bucket.rows) -> Tensor:
            return x.index_select(0, places).unflatten(0, (count, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            rows(query, bucket.queries),
            rows(key, bucket.keys),
            rows(value, bucket.keys),
            attn_mask=bucket.visible,
            is_causal=bucket.visible is None,
            scale=attention.scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        found.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, bucket.real))
    return torch.cat(found)
