"""Advantages, losses and gradients of PPO equal stable-baselines3's on one batch and one network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from understudy.roles.teacher.config import DistillConfig, TeacherConfig
from understudy.roles.teacher.student import Student, VectorEncoder
from understudy.roles.teacher.update import prepare, update
from understudy.rollout.steps import Segment

pytestmark = pytest.mark.differential

STEPS, ROWS, SEEN, ACTIONS = 12, 3, 5, 4
SETTINGS = {
    "gamma": 0.97,
    "gae_lambda": 0.9,
    "max_grad_norm": 0.4,
    "entropy_coef": 0.03,
    "value_coef": 0.7,
}


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("stable_baselines3")
    import gymnasium as gym
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Still(gym.Env):
        observation_space = gym.spaces.Box(-9, 9, (SEEN,), np.float32)
        action_space = gym.spaces.Discrete(ACTIONS)

        def reset(self, *, seed=None, options=None):
            return np.zeros(SEEN, np.float32), {}

        def step(self, action):
            return np.zeros(SEEN, np.float32), 0.0, False, False, {}

    # Its clipped value loss leaves out the paper's maximum, so only the plain one compares.
    return PPO(
        "MlpPolicy", DummyVecEnv([Still] * ROWS), n_steps=STEPS, batch_size=STEPS * ROWS, n_epochs=1,
        gamma=0.97, gae_lambda=0.9, clip_range=0.2, ent_coef=0.03, vf_coef=0.7, max_grad_norm=0.4,
        learning_rate=1e-3, seed=0, device="cpu", verbose=0,
        policy_kwargs={"net_arch": {"pi": [8, 6], "vf": [8, 6]}, "activation_fn": torch.nn.ReLU},
    )  # fmt: skip


def student_like(policy):
    """Our student with the same weights."""
    student = Student(
        VectorEncoder("own", SEEN, 8),
        ACTIONS,
        width=6,
        critic_encoder=VectorEncoder("own", SEEN, 8),
    )
    mlp = policy.mlp_extractor
    pairs = [
        (student.encoder.net[0], mlp.policy_net[0]), (student.actor[0], mlp.policy_net[2]),
        (student.actor[2], policy.action_net), (student.critic_encoder.net[0], mlp.value_net[0]),
        (student.critic[0], mlp.value_net[2]), (student.critic[2], policy.value_net),
    ]  # fmt: skip
    with torch.no_grad():
        policy.action_net.weight.mul_(50)  # an all but uniform policy would hide faults
        for ours, theirs in pairs:
            ours.weight.copy_(theirs.weight)
            ours.bias.copy_(theirs.bias)
    return student, pairs


def experience(student, rng):
    """A segment of random states and actions; the acting policy differs from the present one."""

    def normal(*shape):
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    own = normal(STEPS, ROWS, SEEN)
    ended = torch.from_numpy(rng.random((STEPS, ROWS)) < 0.2)
    starts = torch.cat([torch.ones(1, ROWS, dtype=torch.bool), ended[:-1]])
    empty = student.start(ROWS)
    with torch.no_grad():
        outlook = student.unroll({"own": own}, empty, starts)
        logits = outlook.logits + 0.4 * normal(STEPS, ROWS, ACTIONS)
        values = outlook.values + 0.3 * normal(STEPS, ROWS)
    following = torch.cat([values[1:], normal(1, ROWS)])
    return Segment(
        features={"own": own}, starts=starts, hidden=empty, logits=logits, values=values,
        actions=torch.from_numpy(rng.integers(0, ACTIONS, (STEPS, ROWS))), next_values=following,
        rewards=normal(STEPS, ROWS), terminated=ended, ended=ended,
    )  # fmt: skip


def their_buffer(model, segment, logprobs):
    from stable_baselines3.common.buffers import RolloutBuffer

    buffer = RolloutBuffer(
        STEPS,
        model.observation_space,
        model.action_space,
        device="cpu",
        gamma=0.97,
        gae_lambda=0.9,
        n_envs=ROWS,
    )
    for t in range(STEPS):
        buffer.add(
            segment.features["own"][t].numpy(), segment.actions[t].numpy()[:, None], segment.rewards[t].numpy(),
            segment.starts[t].numpy(), segment.values[t], logprobs[t],
        )  # fmt: skip
    buffer.compute_returns_and_advantage(segment.next_values[-1], segment.ended[-1].numpy())
    return buffer


def test_one_update_is_the_same(peer):
    model = peer
    student, pairs = student_like(model.policy)
    segment = experience(student, np.random.default_rng(3))
    config = TeacherConfig(
        method="ppo",
        epochs=1,
        minibatch=STEPS * ROWS,
        distill=DistillConfig(weight=0.0),
        **SETTINGS,
    )
    lesson = prepare(segment, None, config)
    buffer = their_buffer(model, segment, lesson.logprobs)
    torch.testing.assert_close(lesson.advantages.numpy(), buffer.advantages, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(lesson.returns.numpy(), buffer.returns, atol=1e-6, rtol=1e-6)

    logged: dict[str, float] = {}
    model.rollout_buffer = buffer
    model.set_logger(SimpleNamespace(record=lambda name, value, **_: logged.update({name: value})))
    model.train()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, eps=1e-5)
    stats = update(student, optimizer, lesson, config, 0.0, np.random.default_rng(0))

    assert stats["loss_policy"] == pytest.approx(logged["train/policy_gradient_loss"], abs=1e-6)
    assert stats["loss_value"] == pytest.approx(logged["train/value_loss"], abs=1e-6)
    assert -stats["entropy"] == pytest.approx(logged["train/entropy_loss"], abs=1e-6)
    assert stats["clipped"] > 0.02
    for ours, theirs in pairs:
        for name in ("weight", "bias"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)
