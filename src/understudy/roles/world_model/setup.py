"""From settings to the parts of a run: environments, the agent, its optimizer, its memory."""

from __future__ import annotations

import torch

from understudy.envs.control.register import make
from understudy.envs.memory.register import register as register_memory
from understudy.roles.world_model.agent import Agent
from understudy.roles.world_model.behaviour import Behaviour
from understudy.roles.world_model.config import OUTCOME, SIZES, WorldModelConfig, chosen
from understudy.roles.world_model.cores.build import make_core
from understudy.roles.world_model.cores.spec import CoreConfig
from understudy.roles.world_model.envs import Envs
from understudy.roles.world_model.model import WorldModel
from understudy.roles.world_model.nets import initialise
from understudy.roles.world_model.optim import LaProp
from understudy.roles.world_model.replay import Replay
from understudy.run.device import device_of
from understudy.run.seed import Seeds


def make_envs(config: WorldModelConfig, seeds: Seeds, name: str, count: int) -> Envs:
    """`count` environments; `name` is of their stream of seeds.

    Raises:
        EnvError: there is no such environment, or it has a space that no model is for.
    """
    register_memory()
    envs = [make(config.env, config.env_options) for _ in range(count)]
    return Envs(
        envs,
        lambda i, n: seeds.integer(name, i, n),
        blank=config.blank_tokens,
        scale=config.reward_scale,
    )


def core_config(config: WorldModelConfig) -> CoreConfig:
    """How large the core is: by the size's name, and by the settings of its body."""
    size, body = SIZES[config.size], config.body
    return CoreConfig(
        width=size.width,
        hidden=size.units,
        layers=body.layers,
        heads=body.heads,
        window=body.window,
        state_size=body.state_size,
        slots=body.slots,
        lora_rank=body.lora_rank,
    )


def make_agent(config: WorldModelConfig, envs: Envs, seeds: Seeds) -> Agent:
    """The agent with its first weights, which the seed alone decides."""
    size = SIZES[config.size]
    bins = chosen(config.bins, size.bins)
    core = make_core(config.core, size.units, core_config(config), seed=seeds.integer("core"))
    # What torch draws for these layers when they are made is replaced below.
    with torch.random.fork_rng(devices=[]):
        coupled = core.coupled if config.posterior == "auto" else config.posterior == "coupled"
        even, unimix = not config.nature, config.losses.unimix
        outcome = chosen(config.losses.outcome, 0.0 if core.coupled else OUTCOME) > 0
        model = WorldModel(
            envs.keys, envs.actions.size, core, size,
            coupled=coupled, bins=bins, even=even, unimix=unimix, outcome=outcome,
        )  # fmt: skip
        behaviour = Behaviour(model.width, envs.actions, size, bins=bins, even=even, unimix=unimix)
    generator = torch.Generator().manual_seed(seeds.integer("weights"))
    initialise(model, generator)
    initialise(behaviour, generator)
    behaviour.slow.load_state_dict(behaviour.critic.state_dict())
    agent = Agent(model, behaviour, core.context if _context(config) else 0)
    return agent.to(device_of(config.run.device))


def _context(config: WorldModelConfig) -> bool:
    return chosen(config.replay.context, config.nature)


def make_replay(config: WorldModelConfig, envs: Envs, agent: Agent) -> Replay:
    """An empty memory."""
    core = agent.model.core
    stored = _context(config) and core.context == 0
    return Replay(
        envs.keys,
        envs.actions.size,
        envs=len(envs),
        capacity=config.replay.capacity,
        length=config.replay.length,
        context=core.pack(core.template()).shape[1] if stored else 0,
        before=agent.before,
        online=chosen(config.replay.online, config.nature),
    )


class ThreeAdams(torch.optim.Adam):
    """The optimizers of 2023: each of model, actor and critic clipped to a norm of its own."""

    def step(self, closure: None = None) -> None:
        """One update."""
        for group in self.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], group["most"])
        super().step(closure)


def make_optimizer(config: WorldModelConfig, agent: Agent) -> torch.optim.Optimizer:
    """LaProp over everything, or the three Adams of 2023."""
    size = SIZES[config.size]
    rate = chosen(config.learning_rate, size.learning_rate)
    if config.nature:
        params = [p for p in agent.parameters() if p.requires_grad]
        return LaProp(params, rate, warmup=size.warmup)
    behaviour = agent.behaviour
    model = [p for p in agent.model.parameters() if p.requires_grad]
    slower = {"lr": 0.3 * rate, "eps": 1e-5, "most": 100.0}
    return ThreeAdams(
        [
            {"params": model, "lr": rate, "eps": 1e-8, "most": 1000.0},
            {"params": list(behaviour.actor.parameters()), **slower},
            {"params": list(behaviour.critic.parameters()), **slower},
        ]
    )
