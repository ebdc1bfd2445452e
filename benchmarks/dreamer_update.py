"""CPU-seconds of one DreamerV3 update against sheeprl's, in one run, on one thread.

    python benchmarks/dreamer_update.py [repeats]

The same for all: 16 sequences of 64 steps of CartPole's shapes (random numbers), dreams of 15 steps,
one thread. sheeprl's `dreamer_v3_5` is the Nature version at its size 1M, as ours; its `dreamer_v3`,
the version of 2023, has its widths chosen for about as many parameters. Both dream from all 1,024
states; ours is timed so, and from the 256 that are its default. Updates take turns; of each the median
is told. A whole update: observing, dreaming, losses, gradients, the optimizer's step, the slow critic.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from understudy.roles.world_model.agent import CONTEXT, update
from understudy.roles.world_model.config import WorldModelConfig
from understudy.roles.world_model.setup import make_agent, make_envs, make_optimizer
from understudy.run.seed import Seeds

BATCH, LENGTH, HORIZON, SEEN, ACTIONS = 16, 64, 15, 4, 2
WIDTHS_2023 = [
    "algo.dense_units=160",
    "algo.mlp_layers=2",
    "algo.world_model.discrete_size=4",
    "algo.world_model.recurrent_model.recurrent_state_size=224",
    "algo.world_model.transition_model.hidden_size=160",
    "algo.world_model.representation_model.hidden_size=160",
]
Step = Callable[[], Any]


def steps_to_replay() -> dict[str, torch.Tensor]:
    """[B, T, …] of what an environment might have said; no episode ends."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(ACTIONS, (BATCH, LENGTH), generator=generator)
    return {
        "seen": torch.randn(BATCH, LENGTH, SEEN, generator=generator),
        "action": torch.nn.functional.one_hot(chosen, ACTIONS).float(),
        "reward": torch.ones(BATCH, LENGTH),
        "flag": torch.zeros(BATCH, LENGTH, dtype=torch.bool),
    }


def ours(starts: int) -> tuple[Step, int]:
    """One update, and how many parameters are trained."""
    config = WorldModelConfig(core="block_gru", size="1m")
    config = replace(config, behaviour=replace(config.behaviour, starts=starts, horizon=HORIZON))
    config = replace(config, replay=replace(config.replay, batch=BATCH, length=LENGTH))
    envs = make_envs(config, Seeds(0), "envs", 1)
    agent = make_agent(config, envs, Seeds(0))
    found = steps_to_replay()
    flags = dict.fromkeys(("is_first", "is_last", "is_terminal"), found["flag"])
    batch = {envs.keys[0].name: found["seen"], "action": found["action"], **flags}
    batch |= {
        "reward": found["reward"],
        CONTEXT: agent.model.core.pack(agent.model.core.init_state(BATCH)),
    }
    optimizer, generator = make_optimizer(config, agent), torch.Generator().manual_seed(1)
    count = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    return lambda: update(agent, optimizer, batch, config, generator), count


def settings(algorithm: str, *flags: str) -> Any:
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf
    from sheeprl.utils.utils import dotdict

    common = [
        "env=gym", "env.id=CartPole-v1", "algo.cnn_keys.encoder=[]", "algo.cnn_keys.decoder=[]",
        "algo.mlp_keys.encoder=[vector]", "algo.mlp_keys.decoder=[vector]",
        f"algo.per_rank_batch_size={BATCH}", f"algo.per_rank_sequence_length={LENGTH}",
        f"algo.horizon={HORIZON}",
    ]  # fmt: skip
    with initialize_config_module("sheeprl.configs", version_base="1.3"):
        made = compose("config", overrides=[f"exp={algorithm}", *common, *flags])
    return dotdict(OmegaConf.to_container(made, resolve=True, throw_on_missing=False))


def their_data(context: int) -> dict[str, torch.Tensor]:
    """Time first; the state before the first step is stored, as ours is."""
    found = steps_to_replay()
    data = {
        "vector": found["seen"], "actions": found["action"], "rewards": found["reward"][..., None],
        **{name: found["flag"][..., None].float() for name in ("is_first", "terminated", "truncated")},
    }  # fmt: skip
    data = {k: torch.cat([v[:, :context], v], 1).transpose(0, 1) for k, v in data.items()}
    if context:
        data["deter"] = torch.zeros(context + LENGTH, BATCH, 512)
        data["stoch"] = torch.zeros(context + LENGTH, BATCH, 32, dtype=torch.uint8)
    return data


def their_nature() -> tuple[Step, int]:
    import hydra
    from lightning.fabric import Fabric
    from sheeprl.algos.dreamer_v3_5 import dreamer_v3_5 as peer
    from sheeprl.algos.dreamer_v3_5.agent import build_agent
    from sheeprl.algos.dreamer_v3_5.utils import Moments

    config, fabric = (
        settings("dreamer_v3_5", "algo=dreamer_v3_5_1M"),
        Fabric(accelerator="cpu", devices=1),
    )
    model, actor, critic, slow, _ = build_agent(fabric, (ACTIONS,), False, config, space())
    learning = [p for part in (model, actor, critic) for p in part.parameters()]
    optimizer = hydra.utils.instantiate(config.algo.optimizer, params=learning, _convert_="all")
    optimizer, moments = fabric.setup_optimizers(optimizer), Moments(max_=1.0)
    data = their_data(config.algo.replay_context)

    def step() -> None:
        args = (model, actor, critic, slow, optimizer, moments, data, None, (ACTIONS,))
        peer.train(fabric, config, *args)
        peer.update_target_critic(critic, slow, 0.02)

    return step, sum(p.numel() for p in learning)


def their_2023() -> tuple[Step, int]:
    import hydra
    from lightning.fabric import Fabric
    from sheeprl.algos.dreamer_v3 import dreamer_v3 as peer
    from sheeprl.algos.dreamer_v3.agent import build_agent
    from sheeprl.algos.dreamer_v3.utils import Moments
    from sheeprl.algos.dreamer_v3_5.dreamer_v3_5 import update_target_critic

    config = settings("dreamer_v3", "algo=dreamer_v3_XS", *WIDTHS_2023)
    fabric = Fabric(accelerator="cpu", devices=1)
    model, actor, critic, slow, _ = build_agent(fabric, (ACTIONS,), False, config, space())
    parts = (
        (config.algo.world_model, model),
        (config.algo.actor, actor),
        (config.algo.critic, critic),
    )
    optimizers = [
        fabric.setup_optimizers(
            hydra.utils.instantiate(part.optimizer, params=module.parameters(), _convert_="all")
        )
        for part, module in parts
    ]
    moments, data = Moments(max_=1.0), their_data(0)

    def step() -> None:
        peer.train(
            fabric, model, actor, critic, slow, *optimizers, data, None, config, False, (ACTIONS,), moments
        )  # fmt: skip
        update_target_critic(critic, slow, 0.02)

    return step, sum(p.numel() for _, module in parts for p in module.parameters())


def space() -> gymnasium.spaces.Dict:
    return spaces.Dict({"vector": spaces.Box(-9, 9, (SEEN,), np.float32)})


def measure(repeats: int) -> dict[str, Any]:
    """Seconds of each, and how many times ours they are."""
    torch.set_num_threads(1)
    made = {
        "ours, 1024 dreams": ours(BATCH * LENGTH),
        "ours, 256 dreams": ours(256),
        "sheeprl dreamer_v3_5": their_nature(),
        "sheeprl dreamer_v3": their_2023(),
    }
    spent: dict[str, list[float]] = {name: [] for name in made}
    for i in range(repeats + 1):
        for name, (step, _) in made.items():
            start = time.process_time()
            step()
            if i:  # the first is slow
                spent[name].append(time.process_time() - start)
    seconds = {name: statistics.median(times) for name, times in spent.items()}
    return {
        "threads": torch.get_num_threads(),
        "batch": BATCH, "length": LENGTH, "horizon": HORIZON, "repeats": repeats,
        "parameters": {name: count for name, (_, count) in made.items()},
        "CPU seconds": {name: round(value, 4) for name, value in seconds.items()},
        "times ours, 1024 dreams": {
            name: round(value / seconds["ours, 1024 dreams"], 2) for name, value in seconds.items()
        },
        "times ours, 256 dreams": {
            name: round(value / seconds["ours, 256 dreams"], 2) for name, value in seconds.items()
        },
    }  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # sheeprl's, of versions
    found = json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 7), indent=1)
    out = Path(__file__).parent / "results" / "dreamer_update.json"
    out.write_text(found + "\n", encoding="utf-8")
    print(found)
