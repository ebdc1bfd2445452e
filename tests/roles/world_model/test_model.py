"""What must hold of the model and its behaviour before anything is learnt, for both posteriors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.roles.world_model.parts import chunk, made, noise, settings
from understudy import ops
from understudy.roles.world_model.agent import opening, update
from understudy.roles.world_model.behaviour import (
    Chance,
    dream_losses,
    imagine,
    replay_value_loss,
)
from understudy.roles.world_model.model import exponential, joined
from understudy.roles.world_model.setup import make_optimizer

CASES = {
    "coupled": (),
    "decoupled": ("--posterior", "decoupled"),
    "block": ("--core", "block_gru", "--version", "2023"),
    "attention": ("--core", "llama", "--body.window", "4", "--body.layers", "1"),
    "continuous": ("--env", "Pendulum-v1"),
    "words": ("--env", "understudy/TMaze-v0", "--env_options.cue", "sentence"),
}


OTHER_CORES = ("gpt2", "gpt_neox", "mamba", "mamba2", "slots", "pocket+frozen")


@pytest.fixture(params=list(CASES))
def config(request):
    return settings(*CASES[request.param])


@pytest.fixture(params=[*CASES, *OTHER_CORES])
def any_core(request):
    """Every case, and every core that has none."""
    small = ("--core", request.param, "--body.window", "4", "--body.layers", "1")
    return settings(*CASES.get(request.param, small))


def latents_of(agent, batch):
    state, batch = opening(agent, batch, noise())
    shape = (*batch["reward"].shape, agent.model.size.latents, agent.model.size.classes)
    return batch, state, exponential(noise(2), *shape)


def dreamt(agent, batch, horizon=4):
    batch, state, random = latents_of(agent, batch)
    latents = agent.model.observe(batch, state, random)
    index = torch.arange(latents.z[..., 0].numel())
    start = agent.model.core.starts(latents.observed.handle, index, before=True)
    words = None
    if agent.model.language is not None:
        words = {"token": batch["token"].flatten(0, 1)}
    z, start = latents.z.detach().flatten(0, 1), agent.model.core.detach(start)
    chance = Chance.drawn(agent.model, agent.behaviour, horizon, len(z), noise(3))
    return batch, latents, imagine(agent.model, agent.behaviour, z, start, chance, words)


def test_rewards_and_values_are_exactly_zero_at_first(any_core):
    agent, _, batch, _ = chunk(any_core, 20)
    _, latents, dream = dreamt(agent, batch)
    for features in (latents.features, dream.features):
        assert not agent.model.rewards(features).any()
        assert not agent.behaviour.critic.mean(agent.behaviour.critic(features)).any()


def test_the_prior_moves_when_the_latent_or_the_action_moves(any_core):
    agent, _, batch, _ = chunk(any_core, 20)
    model = agent.model
    batch, state, _ = latents_of(agent, batch)
    rows = len(batch["reward"])
    with torch.no_grad():
        z = torch.zeros(rows, model.size.latents, model.size.classes)
        z[..., 0] = 1
        other = z.roll(1, -1).flatten(1)
        now = {name: value[:, 0] for name, value in batch.items()}
        given = model.given(now["action"], now)
        moved = model.given(0.2 - now["action"].roll(1, -1) / 2, now)
        first = model.prior(model.core.step(model.token(z.flatten(1), given), state)[0])
        by_latent = model.prior(model.core.step(model.token(other, given), state)[0])
        by_action = model.prior(model.core.step(model.token(z.flatten(1), moved), state)[0])
    assert (first - by_latent).abs().amax((1, 2)).min() > 1e-4
    assert (first - by_action).abs().amax((1, 2)).min() > 1e-4


def test_the_actor_has_a_gradient_without_entropy(any_core):
    agent, _, batch, _ = chunk(any_core, 20)
    _, _, dream = dreamt(agent, batch)
    for layer in (agent.model.reward.net[-1], agent.behaviour.critic.net[-1]):
        torch.nn.init.normal_(layer.weight, generator=noise(5))
    losses, *_ = dream_losses(
        agent.model, agent.behaviour, dream, replace(any_core.behaviour, entropy=0.0), 1.0
    )
    losses["actor"].mean().backward()
    assert sum(p.grad.abs().sum() for p in agent.behaviour.actor.parameters()) > 0
    assert all(p.grad is None for p in agent.model.parameters())


def test_a_dream_along_the_recorded_actions_is_what_was_observed(any_core):
    agent, _, batch, _ = chunk(any_core, 20)
    model = agent.model
    batch, state, random = latents_of(agent, batch)
    latents = model.observe(batch, state, random)
    for t in range(3):
        index = torch.arange(len(batch["reward"])) * batch["reward"].shape[1] + t
        here = model.core.starts(latents.observed.handle, index, before=True)
        now = {name: value[:, t] for name, value in batch.items()}
        h, _ = model.core.step(model.token(latents.z[:, t], model.given(now["action"], now)), here)
        assert (h - latents.observed.h[:, t]).abs().max() < 1e-5


def test_the_replayed_value_loss_teaches_the_critic_and_not_the_model(config):
    agent, _, batch, _ = chunk(config)
    batch, state, random = latents_of(agent, batch)
    latents = agent.model.observe(batch, state, random)
    torch.nn.init.normal_(agent.behaviour.critic.net[-1].weight, generator=noise(5))
    ahead = torch.full(batch["reward"].shape, torch.nan)
    loss = replay_value_loss(agent.behaviour, latents.features, batch, ahead, config.behaviour)
    assert loss.shape == (len(batch["reward"]), batch["reward"].shape[1] - 1)
    assert not loss[batch["is_last"][:, :-1]].any()
    loss.mean().backward()
    assert agent.behaviour.critic.net[-1].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in agent.model.parameters())


def test_an_update_changes_every_trained_tensor(config):
    agent, _, batch, _ = chunk(config)
    for layer in (agent.model.reward.net[-1], agent.behaviour.critic.net[-1]):
        torch.nn.init.normal_(layer.weight, std=0.01, generator=noise(5))
    optimizer = make_optimizer(config, agent)
    names = [name for name, p in agent.named_parameters() if p.requires_grad]
    before = {name: p.detach().clone() for name, p in agent.named_parameters()}
    done = None
    for i in range(2):
        done = update(agent, optimizer, batch, config, noise(i))
    assert all(math.isfinite(float(value)) for value in done.stats.values())
    after = dict(agent.named_parameters())
    still = [name for name in names if torch.equal(before[name], after[name])]
    assert not still


def test_values_start_where_the_slow_critic_does():
    agent, *_ = made(settings())
    slow, now = agent.behaviour.slow, agent.behaviour.critic
    assert all(map(torch.equal, slow.parameters(), now.parameters()))
    with torch.no_grad():
        now.net[0].weight.add_(1.0)
    was = slow.net[0].weight.clone()
    agent.behaviour.follow(0.25)
    assert torch.allclose(slow.net[0].weight, was + 0.25, atol=1e-6)


def test_the_range_of_returns_by_hand():
    # 0, 1, …, 100: the 5th percentile is 5, the 95th 95; a hundredth of it is 0.9, below 1.
    agent, *_ = made(settings())
    returns = torch.arange(101.0)
    assert float(agent.behaviour.span(returns, 0.01)) == 1.0
    assert float(agent.behaviour.span(returns, 1.0)) == pytest.approx(90.0)
    assert float(agent.behaviour.low) == pytest.approx(5.0)
    # Half-way on to 20 times that, 100 and 1900: 52.5 and 997.5. A second time: 76.25 and 1448.75.
    assert float(agent.behaviour.span(20 * returns, 0.5)) == pytest.approx(945.0)
    assert float(agent.behaviour.span(20 * returns, 0.5)) == pytest.approx(1372.5)


def test_a_dream_is_worth_what_its_rewards_are(monkeypatch):
    # One step ahead reward 1 at every state, continuation ½, value 0 and λ = 1 over three steps:
    # R₂ = 1, R₁ = 1 + ½, R₀ = 1 + ½ · 1.5 = 1.75; a state counts ½, ¼, ⅛.
    config = settings("--behaviour.lam", "1.0", "--behaviour.entropy", "0")
    agent, _, batch, _ = chunk(config)
    _, _, dream = dreamt(agent, batch, horizon=3)
    monkeypatch.setattr(agent.model, "rewards", lambda f: torch.ones(f.shape[:-1]))
    monkeypatch.setattr(agent.model, "continues", lambda f: torch.full(f.shape[:-1], 0.5))
    losses, ahead, _ = dream_losses(agent.model, agent.behaviour, dream, config.behaviour, 1.0)
    assert torch.allclose(ahead, torch.full_like(ahead, 1.75))
    logp, _ = agent.behaviour.actor.judge(agent.behaviour.actor(dream.features[:-1]), dream.actions)
    worth = torch.tensor([0.5 * 1.75, 0.25 * 1.5, 0.125 * 1.0])[:, None]
    assert torch.allclose(losses["actor"], -worth * logp, atol=1e-6)


def test_gaussian_actions_by_hand():
    # σ = ½ at its mean: log p = −ln ½ − ½ ln 2π; entropy ln ½ + ½ ln 2πe.
    agent, *_ = made(settings("--env", "Pendulum-v1"))
    parameters = torch.tensor([[0.3, 0.5]])
    logp, entropy = agent.behaviour.actor.judge(parameters, torch.tensor([[0.3]]))
    assert float(logp) == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi))
    assert float(entropy) == pytest.approx(-math.log(2) + 0.5 * math.log(2 * math.pi * math.e))
    off, _ = agent.behaviour.actor.judge(parameters, torch.tensor([[0.8]]))
    assert float(logp - off) == pytest.approx(0.5)


def test_words_at_random_cost_their_entropy_at_first():
    config = settings(*CASES["words"])
    agent, _, batch, _ = chunk(config)
    language = agent.model.language
    h = torch.zeros(*batch["reward"].shape, agent.model.core.width)
    assert torch.allclose(language.loss(h, batch), torch.tensor(math.log(language.vocabulary)))


def test_blanked_words_say_nothing():
    _, envs, replay = made(settings(*CASES["words"], "--blank_tokens", "true"))
    assert not envs.advance(None)["token"].any()
    assert replay.words
    assert ops.symlog(torch.zeros(1)) == 0


def test_rewards_are_scaled_where_they_are_learnt_from_and_not_where_they_are_told():
    _, envs, _ = made(settings("--reward_scale", "50"))
    records = envs.advance(None)
    while not records["is_last"][0]:
        records = envs.advance(np.eye(2, dtype=np.float32)[:1])
        assert records["reward"] == [50.0]
    assert envs.finished[0].total == envs.finished[0].length


def test_the_next_reward_is_foretold_where_the_output_is_not_all_that_is_remembered():
    assert made(settings())[0].model.outcome is None
    assert made(settings("--core", "llama", "--losses.outcome", "0"))[0].model.outcome is None
    assert made(settings("--losses.outcome", "1"))[0].model.outcome is not None
    agent, _, batch, _ = chunk(settings("--core", "llama"))
    generator = noise()
    state, batch = opening(agent, batch, generator)
    latents = agent.model.observe(
        batch, state, exponential(generator, *batch["reward"].shape, 16, 8)
    )
    ends = torch.zeros_like(batch["is_last"])
    ends[1, 2] = ends[0, -1] = True
    batch = {**batch, "reward": torch.ones_like(batch["reward"]), "is_last": ends}
    found = agent.model.losses(batch, latents, settings().losses, 1.0)["outcome"]
    # At first every bin is as likely: the same cost everywhere, but none across an episode's end.
    assert torch.equal(found > 0, ~ends[:, :-1])
    assert torch.allclose(
        found[found > 0], torch.tensor(math.log(agent.model.outcome.bins.numel()))
    )


def test_what_an_action_brings_is_linear_in_what_is_seen():
    seen, done = torch.randn(5, 3), torch.eye(2)[torch.tensor([0, 1, 1, 0, 1])]
    found = joined(seen, done).unflatten(-1, (3, 3))
    assert torch.equal(found[..., 0], seen)
    assert torch.equal(found[..., 1:].sum(-1), seen)
    assert torch.equal(found[0, :, 1], seen[0])
    assert not found[0, :, 2].any()
