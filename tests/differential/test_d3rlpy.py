"""Double DQN and FQE against d3rlpy's on the same people; our data as its data set."""

import time
import warnings

import numpy as np
import pytest
from benchmarks.ope_coverage import BEST, GAMMA, K, S, q_values, simulate

from understudy.data.transitions import Person, gather
from understudy.roles.simulator.offline.config import FqeConfig, LearnConfig
from understudy.roles.simulator.offline.export import mdp_arrays, to_d3rlpy
from understudy.roles.simulator.offline.fqe import fqe
from understudy.roles.simulator.offline.learn import learn

EVERY_STATE = np.eye(S, dtype=np.float32)


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
    data, steps = simulate(300, np.random.default_rng(1)), 3000
    encoder = peer.models.VectorEncoderFactory(hidden_units=[32, 32], use_layer_norm=True)
    theirs = peer.algos.DoubleDQNConfig(
        batch_size=64, learning_rate=2e-3, gamma=GAMMA, target_update_interval=100,
        encoder_factory=encoder,
    ).create(device=False)  # fmt: skip
    quiet = {
        "n_steps_per_epoch": steps, "show_progress": False,
        "logger_adapter": peer.logging.NoopAdapterFactory(),
    }  # fmt: skip
    began = time.process_time()
    theirs.fit(to_d3rlpy(data), n_steps=steps, **quiet)
    middle = time.process_time()
    config = LearnConfig(
        gamma=GAMMA, steps=steps, hidden=32, learning_rate=2e-3, target_every=100, clip=0.0
    )
    ours = learn(data, config, np.random.default_rng(2))
    took = time.process_time() - middle
    q = np.stack(
        [theirs.predict_value(EVERY_STATE, np.full(S, a)) for a in range(K)], axis=1
    )  # fmt: skip
    best = q_values(BEST.table)
    # Both learn from 300 people: each is about as far from the truth as from the other.
    assert ours.outputs(EVERY_STATE) == pytest.approx(q, abs=0.7)
    assert np.abs(ours.outputs(EVERY_STATE) - best).mean() < np.abs(q - best).mean() + 0.15
    assert (middle - began) / took >= 2

    judge = peer.ope.DiscreteFQE(
        algo=theirs,
        config=peer.ope.FQEConfig(
            batch_size=64, learning_rate=2e-3, gamma=GAMMA, target_update_interval=100,
            encoder_factory=encoder,
        ),
    )  # fmt: skip
    began = time.process_time()
    judge.fit(to_d3rlpy(data), n_steps=steps, **quiet)
    middle = time.process_time()
    shares = tuple(
        np.eye(K)[theirs.predict(x.astype(np.float32))] for x in (data.states, data.next_states)
    )
    before = time.process_time()
    found = fqe(
        data, [shares], np.ones((1, data.n)), FqeConfig(steps=steps), np.random.default_rng(3),
        gamma=GAMMA, bounds=(-2.0, 10.0),
    )  # fmt: skip
    took = time.process_time() - before
    first = data.states[data.starts].astype(np.float32)
    value = float(judge.predict_value(first, theirs.predict(first)).mean())
    assert float(found.values[0, 0]) == pytest.approx(value, abs=0.25)
    assert (middle - began) / took >= 2
