"""Small files that are replaced in one step and notice a changed bit."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from understudy.run.errors import RunError
from understudy.run.files import on_disk, replace_file, seal, to_json, unseal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
BODIES = st.dictionaries(st.text().filter(lambda key: key != "sha256"), JSON, max_size=4)


@given(body=BODIES, data=st.data())
def test_a_seal_breaks_with_any_bit(body: dict[str, object], data: st.DataObject) -> None:
    sealed = seal(body)
    assert unseal(sealed) == body
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    broken = bytearray(sealed)
    broken[bit // 8] ^= 1 << (bit % 8)
    assert unseal(bytes(broken)) is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b'{"sha256": ""}', b"\xff", b"[" * 10**5]
)
def test_what_was_never_sealed(data: bytes) -> None:
    assert unseal(data) is None


def test_a_file_is_replaced_also_after_a_torn_try(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    (tmp_path / ".tmp-x").write_bytes(b"to")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_equal_values_are_equal_bytes() -> None:
    assert to_json({"b": 1, "a": [0.1]}) == to_json({"a": [0.1], "b": 1}) == b'{"a": [0.1], "b": 1}'


def test_an_error_of_the_system_names_its_path(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=rf"^{tmp_path}/no/x: No such file or directory$"),
        on_disk(tmp_path),
    ):
        (tmp_path / "no" / "x").write_bytes(b"")
