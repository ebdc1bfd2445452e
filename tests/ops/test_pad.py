"""The only padding code."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from understudy.ops import pad_ragged


def test_by_hand():
    values, mask = pad_ragged([[1, 2, 3], [], [4]], -1, dtype=torch.long)
    assert values.tolist() == [[1, 2, 3], [-1, -1, -1], [4, -1, -1]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    values, mask = pad_ragged([[1, 2, 3], [4]], -1, side="left", dtype=torch.long)
    assert values.tolist() == [[1, 2, 3], [-1, -1, 4]]
    assert mask.tolist() == [[True] * 3, [False, False, True]]


def test_nothing():
    for rows, shape in (([], (0, 0)), ([[], []], (2, 0))):
        values, mask = pad_ragged(rows, 0, dtype=torch.float32)
        assert values.shape == mask.shape == shape


def test_an_unknown_side_is_an_error():
    with pytest.raises(ValueError, match='side is "top"; it must be "left" or "right"'):
        pad_ragged([[1]], 0, side="top", dtype=torch.long)  # type: ignore[arg-type]


ROWS = {
    torch.long: st.integers(-(2**62), 2**62),
    torch.float64: st.floats(allow_nan=False),
    torch.bool: st.booleans(),
}


@settings(deadline=None)
@given(st.data(), st.sampled_from(list(ROWS)), st.sampled_from(["left", "right"]))
def test_the_mask_gives_the_rows_back(data, dtype, side):
    rows = data.draw(st.lists(st.lists(ROWS[dtype], max_size=6), max_size=5))
    values, mask = pad_ragged(rows, 1, side=side, dtype=dtype)
    assert values.dtype == dtype
    assert mask.dtype == torch.bool
    assert [v[m].tolist() for v, m in zip(values, mask, strict=True)] == rows
    assert (values[~mask] == 1).all()
