"""The world model: what is seen becomes latents, a sequence core predicts them, heads read them.

DreamerV3 (Hafner et al., Nature 2025), equations 1 to 5, over any core of `cores.base`:

    posterior   q(z_t | h_t, x_t), or q(z_t | x_t) where it is decoupled from the core
    token       E_t = W_z z_t + W_a a_t + Emb(word_t)
    core        h_{t+1} = y_t, the core's output after E_t; zero at an episode's start
    prior       p(z_t | h_t)
    heads       x_t, r_t, c_t from f_t = [z_t, h_t]; the next word from h_t
    outcome     r_{t+1} from f_t and a_t, where h_t is not all that the core remembers

The last is not the original's. A GRU's output is its memory; attention and Mamba may keep to themselves
what they need only once an action is taken, and an actor that reads their output would never see it
(Samsami et al., arXiv 2403.04253, show actors the hidden state instead, which here is too large). And
where reward depends on what is remembered and on what is done, but on neither alone, a head that reads
the next output has no gradient at first. This one reads the product of the two.

Unlike the original, an episode's first h is zero instead of one step of the core from zeros, and the
action that led to x_t enters with the state it was taken in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from understudy import ops
from understudy.envs.base import EnvError
from understudy.roles.world_model.config import LossConfig, Size
from understudy.roles.world_model.cores.base import Core, Observed, State, Trace, lagged
from understudy.roles.world_model.encoders import Decoder, Encoder
from understudy.roles.world_model.nets import MLP, Linear, RMSNorm, TwoHotHead
from understudy.roles.world_model.spaces import Key

Batch = Mapping[str, Tensor]
"""[B, T, …]: every key, `action` [A], `reward`, `is_first`, `is_last`, `is_terminal`."""


@dataclass(frozen=True, slots=True)
class Latents:
    """What the model makes of a chunk of B rows and T steps."""

    z: Tensor
    """[B, T, G·K] sampled posterior, one-hot going forward."""
    logits: Tensor
    """[B, T, G, K] of the posterior."""
    observed: Observed
    """The core's outputs: `before` is h_t."""

    @property
    def features(self) -> Tensor:
        """f_t = [z_t, h_t]: [B, T, F]."""
        return torch.cat([self.z, self.observed.before], -1)


class Posterior(nn.Module):
    """Logits of q(z | h, x), or of q(z | x) where `width` is 0. What x gives is done beforehand."""

    def __init__(self, inputs: int, width: int, size: Size) -> None:
        super().__init__()
        self.seen = Linear(inputs, size.units)
        self.recalled = Linear(width, size.units, bias=False) if width else None
        self.out = nn.Sequential(
            RMSNorm(size.units), nn.SiLU(), Linear(size.units, size.latents * size.classes)
        )
        self.classes = size.classes

    def forward(self, seen: Tensor, h: Tensor) -> Tensor:
        """Logits [..., G, K] of `self.seen(x)` and h."""
        hidden = seen if self.recalled is None else seen + self.recalled(h)
        return self.out(hidden).unflatten(-1, (-1, self.classes)).float()


class WorldModel(nn.Module):
    """Encoder, core, prior, posterior and heads."""

    def __init__(
        self,
        keys: Sequence[Key],
        actions: int,
        core: Core,
        size: Size,
        *,
        coupled: bool,
        bins: int,
        even: bool,
        unimix: float,
        outcome: bool,
    ) -> None:
        """`actions`: features of an action. `bins`, `even`: of the reward, see `TwoHotHead`.

        `outcome`: whether the next reward is foretold.
        """
        super().__init__()
        words = [key for key in keys if key.kind == "token"]
        if len(words) > 1:
            raise EnvError("env: a world model reads one token key, of one or more tokens per step")
        self.core, self.size, self.coupled, self.unimix = core, size, coupled, unimix
        self.latent_width = size.latents * size.classes
        self.width = self.latent_width + core.width
        self.encoder = Encoder(keys, size.units, size.layers, size.depth, core.token_width)
        self.posterior = Posterior(self.encoder.width, core.width if coupled else 0, size)
        self.prior_net = MLP(core.width, size.units, size.layers, self.latent_width)
        self.from_latent = Linear(self.latent_width, core.token_width)
        self.from_action = Linear(actions, core.token_width, bias=False)
        self.decoder = Decoder(keys, self.width, size.units, size.layers, size.depth)
        self.reward = TwoHotHead(self.width, size.units, 1, bins, even=even)
        self.outcome = (
            TwoHotHead(self.width * (1 + actions), size.units, 1, bins, even=even)
            if outcome
            else None
        )
        self.going_on = MLP(self.width, size.units, 1, 1)
        self.language = Language(words[0], core) if words else None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.from_latent.weight.device

    # ---- inference -------------------------------------------------------------------------------

    def seen(self, batch: Batch) -> Tensor:
        """What the posterior gets of the observations: [..., units]."""
        embedded = {} if self.language is None else self.language.embed(batch)
        return self.posterior.seen(self.encoder(batch, embedded))

    def token(self, z: Tensor, given: Tensor) -> Tensor:
        """E_t [..., D] of latents [..., G·K] and `given`."""
        return self.from_latent(z) + given

    def given(self, action: Tensor, batch: Batch) -> Tensor:
        """The part of E_t [..., D] that needs no latent: the action's and the words'."""
        found = self.from_action(bounded(action))
        return found if self.language is None else found + self.language.token(batch)

    def mixed(self, logits: Tensor) -> Tensor:
        """Probabilities with the uniform mixed in."""
        return (1 - self.unimix) * logits.softmax(-1) + self.unimix / logits.shape[-1]

    def sample(self, logits: Tensor, noise: Tensor) -> Tensor:
        """One-hot draws [..., G·K], the gradient straight through to the probabilities."""
        p = self.mixed(logits)
        drawn = ops.sample_one_hot(p, noise)
        return (ops.straight_through(drawn, p) if p.requires_grad else drawn).flatten(-2)

    def prior(self, h: Tensor) -> Tensor:
        """Logits [..., G, K] of p(z_t | h_t)."""
        return self.prior_net(h).unflatten(-1, (-1, self.size.classes)).float()

    def observe(self, batch: Batch, state: State, noise: Tensor) -> Latents:
        """Latents of a chunk.

        Args:
            batch: B rows of T steps.
            state: the core's, before the first step.
            noise: exponential variates [B, T, G, K].
        """
        seen, given = self.seen(batch), self.given(batch["action"], batch)
        if self.coupled:
            return self._step_by_step(seen, given, batch["is_first"], state, noise)
        logits = self.posterior(seen, seen)
        z = self.sample(logits, noise)
        return Latents(z, logits, self.core.observe(self.token(z, given), batch["is_first"], state))

    def _step_by_step(
        self, seen: Tensor, given: Tensor, is_first: Tensor, state: State, noise: Tensor
    ) -> Latents:
        """The chunk where each latent waits for the core's last output."""
        first, states = state, list[State]()
        latents, logits = list[Tensor](), list[Tensor]()
        # Most steps begin no episode in any row: those are spared the reset.
        opens = is_first.any(0).tolist()
        columns = (x.unbind(1) for x in (seen, given, is_first, noise))
        for opening, (x, g, mask, e) in zip(opens, zip(*columns, strict=True), strict=True):
            state = self.core.reset(state, mask) if opening else state
            logits.append(self.posterior(x, state["h"]))
            latents.append(self.sample(logits[-1], e))
            _, state = self.core.step(self.token(latents[-1], g), state)
            states.append(state)
        trace = Trace.of(states, first, is_first)
        h = trace.after["h"]
        observed = Observed(h, lagged(h, is_first, first), state, trace)
        return Latents(torch.stack(latents, 1), torch.stack(logits, 1), observed)

    # ---- losses ----------------------------------------------------------------------------------

    def losses(
        self, batch: Batch, latents: Latents, config: LossConfig, live: float
    ) -> dict[str, Tensor]:
        """Every term of the model's loss, unweighted, [B, T] each; "outcome" is [B, T − 1].

        Args:
            batch: the chunk.
            latents: `observe` of it.
            config: free nats.
            live: the continuation's target where an episode goes on: 1, or the discount.
        """
        features = latents.features
        found = {
            f"decoder/{name}": loss
            for name, loss in self.decoder.losses(self.decoder(features), batch).items()
        }
        found["reward"] = self.reward.loss(self.reward(features), batch["reward"])
        target = (~batch["is_terminal"]).float() * live
        found["continue"] = nn.functional.binary_cross_entropy_with_logits(
            self.going_on(features)[..., 0].float(), target, reduction="none"
        )
        posterior = ops.unimix(latents.logits, self.unimix)
        prior = ops.unimix(self.prior(latents.observed.before), self.unimix)
        found["dynamics"], found["representation"] = ops.balanced_kl(
            posterior, prior, config.free_nats
        )
        if self.language is not None:
            found["token"] = self.language.loss(latents.observed.before, batch)
        if self.outcome is not None:
            told = self.outcome(joined(features[:, :-1], bounded(batch["action"][:, :-1])))
            loss = self.outcome.loss(told, batch["reward"][:, 1:])
            found["outcome"] = loss * ~batch["is_last"][:, :-1]
        return found

    # ---- heads -----------------------------------------------------------------------------------

    def continues(self, features: Tensor) -> Tensor:
        """Predicted probability [...] that the episode goes on (times the discount, if so trained)."""
        return self.going_on(features)[..., 0].float().sigmoid()

    def rewards(self, features: Tensor) -> Tensor:
        """Predicted reward [...], without a gradient."""
        return self.reward.value(features)


class Language(nn.Module):
    """Words in and words out: an embedding, and a head tied to it that predicts the next words."""

    def __init__(self, key: Key, core: Core) -> None:
        super().__init__()
        self.name, self.count, self.vocabulary = key.name, key.shape[0], key.classes
        width = core.token_width
        self.embedding = nn.Embedding(key.classes, width)
        self.join = Linear(self.count * width, width, bias=False) if self.count > 1 else None
        self.head = Linear(core.width, self.count * width)
        self.bias = nn.Parameter(torch.zeros(key.classes))

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Embedded words [..., n, D] by the key's name.

        Times √D (Vaswani et al., 2017, section 3.4): the weights are small because the head shares
        them, and would be lost among latents and actions otherwise.
        """
        scale = math.sqrt(self.embedding.embedding_dim)
        return {self.name: self.embedding(batch[self.name].long()) * scale}

    def token(self, batch: Batch) -> Tensor:
        """What the words add to E_t: [..., D]."""
        embedded = self.embed(batch)[self.name]
        return embedded[..., 0, :] if self.join is None else self.join(embedded.flatten(-2))

    def logits(self, h: Tensor) -> Tensor:
        """Of the words that come with h [..., H]: [..., n, V]."""
        hidden = self.head(h).unflatten(-1, (self.count, -1))
        return (hidden @ self.embedding.weight.T + self.bias).float()

    def loss(self, h: Tensor, batch: Batch) -> Tensor:
        """Nats [B, T] of the words at t given h_t, which has seen all before t; a mean over words."""
        chosen = self.logits(h).log_softmax(-1).gather(-1, batch[self.name][..., None].long())
        return -chosen[..., 0].mean(-1)

    def draw(self, h: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Words [..., n] drawn from the head; `noise`: exponential variates [..., n, V]."""
        return {self.name: (self.logits(h).softmax(-1) / noise).argmax(-1)}


def bounded(action: Tensor) -> Tensor:
    """Actions [..., A], each divided by its largest feature where that is above 1."""
    return action / action.abs().amax(-1, keepdim=True).clamp(min=1.0)


def joined(features: Tensor, action: Tensor) -> Tensor:
    """The products f ⊗ (1, a): [..., F · (1 + A)] of f [..., F] and a [..., A].

    A linear layer over them is another linear function of f for each discrete action.
    """
    weights = nn.functional.pad(action, (1, 0), value=1.0)
    return (features[..., :, None] * weights[..., None, :]).flatten(-2)


def exponential(
    generator: torch.Generator, *shape: int, device: torch.device | None = None
) -> Tensor:
    """Exponential variates; four times as fast as `Tensor.exponential_`.

    Drawn on the CPU, where the generator is, and then moved: the same on every device.
    """
    drawn = torch.rand(shape, generator=generator).clamp_(min=1e-20).log_().neg_()
    return drawn if device is None else drawn.to(device)
