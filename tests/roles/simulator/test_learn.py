"""Offline learning on a chain whose best policy is known."""

import json

import numpy as np
import pytest
import torch
from benchmarks.ope_coverage import BEHAVIOUR, BEST, GAMMA, S, q_values, simulate, truth
from safetensors.torch import save_file

from understudy.data.transitions import Person, Scaler, gather
from understudy.roles.simulator.offline.config import LearnConfig, OfflineError
from understudy.roles.simulator.offline.learn import _loss, learn, value_scale
from understudy.roles.simulator.offline.networks import Networks, Target
from understudy.roles.simulator.offline.policies import Fixed, Learned, Uniform

QUICK = LearnConfig(gamma=GAMMA, steps=600, hidden=24, learning_rate=8e-3, target_rate=0.04)
DATA = simulate(400, np.random.default_rng(0))
EVERY_STATE = np.eye(S)


@pytest.fixture(scope="module")
def ddqn():
    return learn(DATA, QUICK, np.random.default_rng(1))


def test_double_dqn_finds_the_values_and_all_but_the_best_policy(ddqn):
    best = q_values(BEST.table)
    assert ddqn.outputs(EVERY_STATE) == pytest.approx(best, abs=0.9)
    assert truth(ddqn.probabilities(EVERY_STATE)) > truth(BEST.table) - 0.1
    assert truth(BEST.table) - truth(BEHAVIOUR) > 0.9


def test_the_values_are_those_of_many_decisions_not_of_one(ddqn):
    """A network that never bootstraps would say about one reward, 0 to 1.5 here."""
    assert ddqn.outputs(EVERY_STATE).mean() > 3


def test_nothing_follows_a_drop_out():
    """One state, reward 1, the person leaves: Q is 1, not 1 / (1 − γ)."""
    people = [Person(str(i), [[0.0]], [i % 2], [1.0], True) for i in range(20)]
    stays = [Person(p.name, p.states, p.actions, p.rewards, False, [0.0]) for p in people]
    config = LearnConfig(gamma=0.8, steps=400, hidden=8, learning_rate=0.02, target_rate=0.1)
    ended = learn(gather(people, 2), config, np.random.default_rng(0))
    assert ended.outputs([[0.0]]) == pytest.approx(np.ones((1, 2)), abs=0.02)
    lasting = learn(gather(stays, 2), config, np.random.default_rng(0))
    assert lasting.outputs([[0.0]]) == pytest.approx(5 * np.ones((1, 2)), abs=0.1)


def test_double_dqn_chooses_by_the_online_network():
    """The goal is the target's value of the online network's action, not the target's maximum."""
    networks = Networks(1, S, 8, 3, np.random.default_rng(0))
    slow = Target(networks, 0.5)
    slow.networks.flat.data = torch.randn(
        slow.networks.flat.shape, generator=torch.Generator().manual_seed(0)
    )
    config = LearnConfig(gamma=0.7)
    scaler = Scaler.fit(DATA)
    loss = _loss(DATA, config, scaler, 2.0, networks, slow)
    rows = torch.arange(40)
    x, x2 = (
        torch.from_numpy(scaler(s[:40]).astype(np.float32)) for s in (DATA.states, DATA.next_states)
    )
    with torch.no_grad():
        q, following, online = (
            net(seen[None])[0] for net, seen in ((networks, x), (slow.networks, x2), (networks, x2))
        )
    wanted = 0.0
    for i in range(40):
        v = 0.0 if DATA.done[i] else float(following[i, int(online[i].argmax())])
        goal = DATA.rewards[i] / 2.0 + 0.7 * v
        wanted += (float(q[i, int(DATA.actions[i])]) - goal) ** 2 / 40
    assert float(loss(rows).detach()) == pytest.approx(wanted, rel=1e-5)


def test_cql_stays_with_the_data():
    """Action 2 in one person only, by luck well paid: CQL values it lower than Double DQN does."""
    rng = np.random.default_rng(3)
    people = [
        Person(str(i), [[0.0], [1.0]], rng.integers(2, size=2), rng.normal(1, 0.1, 2), True)
        for i in range(40)
    ]
    people.append(Person("lucky", [[0.0], [1.0]], [2, 2], [4.0, 4.0], True))
    data = gather(people, 3)
    config = LearnConfig(gamma=0.5, steps=250, hidden=16, learning_rate=0.02, target_rate=0.05)
    found = {
        m: learn(data, LearnConfig(**{**config.__dict__, "method": m, "alpha": 5.0}), rng)
        for m in ("ddqn", "cql")
    }
    states = [[0.0], [1.0]]
    assert (found["ddqn"].probabilities(states).argmax(1) == 2).all()
    assert (found["cql"].probabilities(states).argmax(1) != 2).all()


def test_cloning_gives_the_behaviours_probabilities():
    config = LearnConfig(method="bc", steps=300, batch=256, hidden=16, learning_rate=8e-3)
    clone = learn(DATA, config, np.random.default_rng(2))
    assert clone.probabilities(EVERY_STATE) == pytest.approx(BEHAVIOUR, abs=0.07)
    assert clone.probabilities(EVERY_STATE).sum(1) == pytest.approx(np.ones(S))


def test_the_seed_decides_everything():
    config = LearnConfig(steps=60, hidden=8, target_rate=0.1)
    runs = [learn(DATA, config, np.random.default_rng(s)).networks.flat for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_target_that_does_not_move_is_refused():
    with pytest.raises(OfflineError, match=r"moves the target network 26% .*needs 1\.5e-04"):
        LearnConfig(steps=30001, target_rate=1e-5)
    assert LearnConfig(steps=30001, target_rate=1.6e-4).target_rate == 1.6e-4


def test_targets_follow_softly_or_by_copies():
    online = Networks(2, 3, 4, 2, np.random.default_rng(0))
    soft, hard = Target(online, 0.25), Target(online, 0.25, every=2)
    before = online.flat.detach().clone()
    online.flat.data += 1.0
    for target in (soft, hard):
        target.follow()
    assert torch.allclose(soft.networks.flat, before + 0.25)
    assert torch.equal(hard.networks.flat, before)
    hard.follow()
    assert torch.equal(hard.networks.flat, online.flat)
    assert not hard.networks.flat.requires_grad


def test_networks_side_by_side_are_the_networks_one_by_one():
    many = Networks(3, 4, 5, 2, np.random.default_rng(0))
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    together = many(x)
    for m in range(3):
        layer = torch.nn.Sequential(
            torch.nn.Linear(4, 5), torch.nn.LayerNorm(5), torch.nn.ReLU(),
            torch.nn.Linear(5, 5), torch.nn.LayerNorm(5), torch.nn.ReLU(), torch.nn.Linear(5, 2),
        )  # fmt: skip
        parts = many.flat[m].split([20, 5, 5, 5, 25, 5, 5, 5, 10, 2])
        for linear, at, rows in ((0, 0, 4), (3, 4, 5), (6, 8, 5)):
            layer[linear].weight.data = parts[at].view(rows, -1).T.detach()
            layer[linear].bias.data = parts[at + 1].detach()
        for norm, at in ((1, 2), (4, 6)):
            layer[norm].weight.data, layer[norm].bias.data = (
                parts[at].detach(),
                parts[at + 1].detach(),
            )
            assert (parts[at] == 1).all()
            assert (parts[at + 1] == 0).all()
        assert torch.allclose(layer(x[m]), together[m], atol=1e-5)


def test_a_policy_read_back_is_the_same(tmp_path, ddqn):
    ddqn.save(tmp_path / "p.safetensors")
    again = Learned.load(tmp_path / "p.safetensors")
    assert (again.outputs(DATA.states) == ddqn.outputs(DATA.states)).all()
    assert (again.scaler, again.name, again.greedy) == (ddqn.scaler, "ddqn", True)
    assert json.loads(again.record)["people"] == 400
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def test_it_scales_by_its_own_people(ddqn):
    """Whatever other data it judges, a state is worth what it was worth in training."""
    one = DATA.select([3])
    assert ddqn.outputs(one.states) == pytest.approx(ddqn.outputs(DATA.states)[DATA.person == 3])


def test_files_that_are_no_policy(tmp_path):
    (tmp_path / "x").write_text("no")
    save_file({"flat": torch.zeros(1)}, tmp_path / "y")
    for name, message in (("z", "no such policy"), ("x", "not a policy"), ("y", "not a policy")):
        with pytest.raises(OfflineError, match=message):
            Learned.load(tmp_path / name)


def test_comparators():
    assert Fixed(1, 3).probabilities(np.zeros((2, 5))).tolist() == [[0, 1, 0]] * 2
    assert Fixed(1, 3).name == "always 1"
    assert Uniform(4).probabilities(np.zeros((1, 5))).tolist() == [[0.25] * 4]
    with pytest.raises(OfflineError, match="is 3; it must be between 0 and 2"):
        Fixed(3, 3)


def test_progress_sees_the_policy_on_the_way():
    seen = []
    config = LearnConfig(steps=90, hidden=8, target_rate=0.1)
    learn(
        DATA, config, np.random.default_rng(0), every=30,
        progress=lambda step, policy: seen.append((step, policy.outputs(EVERY_STATE).sum())),
    )  # fmt: skip
    assert [step for step, _ in seen] == [30, 60, 90]
    assert len({value for _, value in seen}) == 3


def test_impossible_settings_and_divergence():
    for change, message in (
        ({"method": "dqn"}, "method is 'dqn'"),
        ({"gamma": 1.0}, "gamma is 1.0"),
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"target_every": 9, "steps": 5}, "target_every is 9"),
    ):
        with pytest.raises(OfflineError, match=message):
            LearnConfig(**change)
    assert value_scale(np.zeros(3), 0.9) == 1
    assert value_scale(np.array([1.0, -3.0]), 0.5) == 4
