"""Log-weights on what an answer may say next, under a grammar (see `understudy.lm.base.Steer`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from understudy.lm.base import LMError, Piece, Rule, Steer
from understudy.lm.grammar import GrammarMasker
from understudy.ops.tilt import tilts

Encode = Callable[[str], Sequence[int]]


class SteeredMasker:
    """A grammar's masker that also adds weights in the rows that have a `Steer`.

    Args:
        grammar: Says what is allowed.
        steers: One per row, or None.
        encode: Text to tokens; a weighed piece must be one token.
        decode: Tokens to text.
        temperature: What the sampler divides by; weights count at temperature 1.
    """

    def __init__(
        self,
        grammar: GrammarMasker,
        steers: Sequence[Steer | None],
        encode: Encode,
        decode: Callable[[Sequence[int]], str],
        temperature: float,
    ) -> None:
        self._grammar, self._steers, self._decode = grammar, steers, decode
        self._tokens = lru_cache(maxsize=None)(lambda piece: _token(piece, encode))
        self._temperature = temperature or 1.0
        self._ids: list[list[int]] = [[] for _ in steers]
        self.seen: list[list[tuple[Piece, ...]]] = [[] for _ in steers]
        """For each row and each place that was weighed: the model's own log-probabilities, at the
        sampler's temperature."""

    def apply(self, rows: Sequence[int], logits: Tensor) -> Tensor:
        """See `understudy.lm.sampler.TokenMasker`."""
        logits = self._grammar.apply(rows, logits)
        for place, row in enumerate(rows):
            rule = self._rule(row)
            if rule is None:
                continue
            texts = [text for text, _ in rule.pieces]
            tokens = torch.tensor([self._tokens(text) for text in texts], device=logits.device)
            own = (logits[place] / self._temperature).log_softmax(-1)[tokens].tolist()
            self.seen[row].append(tuple(zip(texts, own, strict=True)))
            weights = torch.tensor(_weights(rule, own), dtype=logits.dtype, device=logits.device)
            logits[place, tokens] += weights * self._temperature
        return logits

    def accept(self, row: int, token: int) -> None:
        """See `understudy.lm.sampler.TokenMasker`."""
        self._grammar.accept(row, token)
        self._ids[row].append(token)

    def _rule(self, row: int) -> Rule | None:
        steer = self._steers[row]
        if steer is None:
            return None
        text = self._decode(self._ids[row])
        return next((rule for rule in steer.rules if re.fullmatch(rule.pattern, text)), None)


def _weights(rule: Rule, own: Sequence[float]) -> list[float]:
    weights = np.array([weight for _, weight in rule.pieces])
    if rule.mean is None:
        return weights.tolist()
    values = np.array([float(text) for text, _ in rule.pieces])
    slope = tilts((np.array(own) + weights)[None], values, np.array([rule.mean]))
    return (weights + slope[0] * values).tolist()


def _token(piece: str, encode: Encode) -> int:
    ids = list(encode(piece))
    if len(ids) != 1:
        raise LMError(
            f"{piece!r} cannot be weighed: it is {len(ids)} tokens of this model, not one"
        )
    return ids[0]
