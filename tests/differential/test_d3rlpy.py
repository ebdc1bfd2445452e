"""Double DQN and FQE against d3rlpy's on the same people; our data as its data set."""

import warnings

import numpy as np
import pytest
from benchmarks.ope_coverage import BEST, q_values, simulate

from understudy.data.transitions import Person, gather
from understudy.roles.simulator.offline.export import mdp_arrays, to_d3rlpy


def test_arrays_keep_every_transition_and_no_other():
    """By d3rlpy's rules: pairs of neighbouring rows of an episode, and a terminal one's last row."""
    people = [
        Person("stays", [[0.0], [1.0]], [0, 1], [5.0, 6.0], False, [2.0]),
        Person("leaves", [[7.0], [8.0]], [1, 0], [1.0, 2.0], True),
    ]
    found = mdp_arrays(gather(people, 2))
    assert found["observations"][:, 0].tolist() == [0, 1, 2, 7, 8]
    assert found["actions"][:, 0].tolist() == [0, 1, 0, 1, 0]
    assert found["rewards"][:, 0].tolist() == [5, 6, 0, 1, 2]
    assert found["terminals"].tolist() == [0, 0, 0, 0, 1]
    assert found["timeouts"].tolist() == [0, 0, 1, 0, 0]


@pytest.fixture(scope="module")
def peer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports the old gym, which says that it is old
        return pytest.importorskip("d3rlpy")


@pytest.mark.differential
@pytest.mark.filterwarnings("ignore::Warning")
def test_the_data_set_has_our_transitions(peer):
    data = simulate(20, np.random.default_rng(0))
    found = to_d3rlpy(data)
    assert found.transition_count == len(data.actions)
    rows = 0
    for i, episode in enumerate(found.episodes):
        for t in range(episode.transition_count):
            row = data.starts[i] + t
            picked = found.transition_picker(episode, t)
            assert picked.observation.tolist() == data.states[row].tolist()
            assert picked.next_observation.tolist() == data.next_states[row].tolist()
            assert int(picked.action[0]) == data.actions[row]
            assert bool(picked.terminal) == data.done[row]
            rows += 1
    assert rows == len(data.actions)


@pytest.mark.differential
@pytest.mark.filterwarnings("ignore::Warning")
def test_double_dqn_and_fqe_equal_theirs_within_noise_and_are_faster(peer):
    """With one loss. Theirs is Huber's, under which rare drop-out counts for too little."""
    from benchmarks import offline_updates as both

    data, steps = simulate(300, np.random.default_rng(1)), 3000
    best = q_values(BEST.table)
    ours = both.our_ddqn(data, steps, 2)
    q = ours.found.outputs(both.EVERY_STATE)
    with both.squared_loss():
        theirs = both.their_ddqn(data, steps, 2)
        their_q = both.their_q(theirs.found)
        judge = both.their_fqe(data, theirs.found, steps, 3)
    # Both learn from 300 people: each is about as far from the truth as from the other.
    assert q == pytest.approx(their_q, abs=0.45)
    assert np.abs(q - their_q).mean() < 0.18
    assert np.abs(q - best).mean() < 0.2
    assert np.abs(their_q - best).mean() < 0.2
    found = both.our_fqe(data, theirs.found, steps, 3)
    value = both.their_value(judge.found, theirs.found, data)
    assert float(found.found.values[0, 0]) == pytest.approx(value, abs=0.2)
    spent = both.speed(data, 3, 500)
    assert spent["double dqn ratio"] >= 2
    assert spent["fqe ratio"] >= 2


@pytest.mark.differential
@pytest.mark.filterwarnings("ignore::Warning")
def test_their_huber_loss_is_why_they_differ_without_that(peer):
    from benchmarks import offline_updates as both

    data = simulate(300, np.random.default_rng(1))
    best = q_values(BEST.table)
    theirs = both.their_q(both.their_ddqn(data, 3000, 2).found)
    ours = both.our_ddqn(data, 3000, 2).found.outputs(both.EVERY_STATE)
    assert (theirs - best).mean() > 0.2
    assert abs((ours - best).mean()) < 0.15
