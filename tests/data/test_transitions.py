"""People's episodes: no transition joins two people, copies or an end with what came after it."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from understudy.data.jsonl import DataError
from understudy.data.transitions import Offline, Person, Scaler, gather, merge


def person(name, length, terminal, number):
    """States (person, time): a transition tells whom it belongs to."""
    states = [[number, t] for t in range(length)]
    final = None if terminal else [number, length]
    return Person(name, states, np.arange(length) % 3, np.arange(length) / 2, terminal, final)


def people(lengths=(3, 1, 4), terminal=(True, False, False)):
    return gather(
        [
            person(f"p{i}", n, end, i)
            for i, (n, end) in enumerate(zip(lengths, terminal, strict=True))
        ],
        3,
    )


def assert_every_transition_is_one_persons(data):
    ours, theirs = data.states, data.next_states
    for s, s2, done in zip(ours, theirs, data.done, strict=True):
        assert done or (s2[0] == s[0] and s2[1] == s[1] + 1)


@settings(deadline=None)
@given(st.data())
def test_transitions_of_resamples_stay_within_one_copy_of_one_person(data):
    n = data.draw(st.integers(1, 6))
    found = people(
        data.draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)),
        data.draw(st.lists(st.booleans(), min_size=n, max_size=n)),
    )
    again = found.resample(np.random.default_rng(data.draw(st.integers(0, 99))))
    assert again.n == found.n
    assert len(set(again.persons)) == again.n
    for name, start in zip(again.persons, again.starts, strict=True):
        assert again.states[start].tolist() == [int(name.split("#")[0][1:]), 0]
    assert_every_transition_is_one_persons(found)
    assert_every_transition_is_one_persons(again)
    assert again.done.sum() == again.terminal.sum()


def test_sorting_copies_by_person_and_time_would_make_self_loops():
    """What relabelling prevents: copies interleaved by (person, time) follow themselves."""
    found = people().select([0, 0])
    naive = np.lexsort((found.time, found.states[:, 0]))
    loops = (found.states[naive][1:] == found.states[naive][:-1]).all(1).mean()
    assert loops >= 0.5
    assert not (found.states == found.next_states).all(1).any()


def test_flat_view_by_hand():
    data = people()
    assert data.person.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert data.time.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert data.starts.tolist() == [0, 3, 4]
    assert data.done.tolist() == [False, False, True] + 5 * [False]
    assert data.next_states[2].tolist() == [0, 0]  # nothing follows
    assert data.next_states[3].tolist() == [1, 1]
    assert data.padded(data.rewards).tolist() == [[0, 0.5, 1, 0], [0, 0, 0, 0], [0, 0.5, 1, 1.5]]
    assert data.padded(data.states).shape == (3, 4, 2)


def test_a_truncated_last_decision_without_what_followed_is_left_out():
    found = gather([Person("ann", [[1], [2], [3]], [0, 1, 0], [5, 6, 7], False)], 2)
    assert found.states[:, 0].tolist() == [1, 2]
    assert found.next_states[:, 0].tolist() == [2, 3]
    assert not found.done.any()
    with pytest.raises(DataError, match="'ann' has no decision whose consequence is known"):
        gather([Person("ann", [[1]], [0], [5], False)], 2)


def test_split_parts_people():
    data = people((2, 3, 1, 4, 2), (True,) * 5)
    train, test = data.split(np.random.default_rng(0), 0.4)
    assert (train.n, test.n) == (3, 2)
    assert set(train.persons) | set(test.persons) == set(data.persons)
    assert not set(train.persons) & set(test.persons)
    assert sorted(data.folds(np.random.default_rng(0), 2).tolist()) == [0, 0, 0, 1, 1]
    with pytest.raises(DataError, match="one person cannot"):
        data.select([0]).split(np.random.default_rng(0), 0.5)


def test_merge_tells_equal_names_and_sources_apart():
    a = people()
    b = gather([person("p0", 2, False, 7)], 3, source="synthetic")
    both = merge(a, b)
    assert both.persons == ("p0", "p1", "p2", "p0#2")
    assert both.source == ("original",) * 3 + ("synthetic",)
    assert both.next_states[-1].tolist() == [7, 2]
    assert_every_transition_is_one_persons(both)
    with pytest.raises(DataError, match=r"different n_actions \[3, 4\]"):
        merge(a, gather([person("x", 2, True, 0)], 4))


def test_round_trip(tmp_path):
    data = people()
    data.save(tmp_path / "d.npz")
    again = Offline.load(tmp_path / "d.npz")
    for name in ("states", "actions", "rewards", "lengths", "final_states", "terminal"):
        mine, read = getattr(data, name), getattr(again, name)
        assert mine.dtype == read.dtype
        assert mine.tolist() == read.tolist()
    assert (again.persons, again.source, again.n_actions) == (data.persons, data.source, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


def test_files_that_are_no_data(tmp_path):
    (tmp_path / "x.npz").write_text("no")
    np.savez(tmp_path / "y.npz", states=np.zeros(3))
    for name, message in (("z.npz", "no such file"), ("x.npz", "not off"), ("y.npz", "not off")):
        with pytest.raises(DataError, match=f"{name}: {message}"):
            Offline.load(tmp_path / name)
    with pytest.raises(DataError, match="cannot write"):
        people().save(tmp_path / "no" / "d.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": [0, 3]}, "action 3 of 'ann' at decision 1 is not one of 0 … 2"),
        ({"rewards": [0, np.nan]}, "rewards of 'ann' at decision 1 is not finite"),
        ({"states": [[np.inf], [0]]}, "states of 'ann' at decision 0 is not finite"),
        ({"final_state": [np.nan], "terminal": False}, "final state of 'ann' is not finite"),
        ({"rewards": [0]}, "'ann' has states .*2 actions and 1 rewards"),
        ({"states": np.zeros((0, 1)), "actions": [], "rewards": []}, "'ann' has no decision"),
    ],
)
def test_bad_episodes_are_one_clear_line(change, message):
    good = {"states": [[1], [2]], "actions": [0, 1], "rewards": [0, 1], "terminal": True}
    with pytest.raises(DataError, match=message) as caught:
        gather([Person("ann", **{**good, **change})], 3)
    assert "\n" not in str(caught.value)


def test_nobody_and_the_same_person_twice():
    ann = person("ann", 2, True, 0)
    with pytest.raises(DataError, match="nobody"):
        gather([], 3)
    with pytest.raises(DataError, match="'ann' is there twice"):
        gather([ann, ann], 3)
    with pytest.raises(DataError, match="widths"):
        gather([ann, Person("bob", [[1]], [0], [0], True)], 3)


def test_the_scaler_is_the_training_peoples():
    data = people()
    scaler = Scaler.fit(data)
    assert scaler(data.states).mean(0) == pytest.approx([0, 0], abs=1e-12)
    assert scaler(data.states).std(0) == pytest.approx([1, 1])
    constant = gather([Person("a", [[5.0], [5.0]], [0, 0], [0, 0], True)], 2)
    assert Scaler.fit(constant)([[5.0], [6.0]]).tolist() == [[0], [1]]
    with pytest.raises(DataError, match="width 3; the scaler knows 2"):
        scaler(np.zeros((1, 3)))
