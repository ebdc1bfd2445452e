"""From the string that names a sequence core to the core."""

from __future__ import annotations

from collections.abc import Callable

import torch

from understudy.lm.backbone import Body, Training, adapt, fresh_body, load_body
from understudy.lm.base import LMError
from understudy.roles.world_model.cores.attention import AttentionCore
from understudy.roles.world_model.cores.base import Core
from understudy.roles.world_model.cores.gru import GRU, BlockGRU
from understudy.roles.world_model.cores.mamba import MambaCore
from understudy.roles.world_model.cores.mamba2 import Mamba2Core
from understudy.roles.world_model.cores.slots import SlotsCore
from understudy.roles.world_model.cores.spec import FRESH, CoreConfig, CoreError, parse_core


def make_core(
    spec: str, token_width: int, config: CoreConfig | None = None, *, seed: int = 0
) -> Core:
    """The core that `spec` names, in float32 on the CPU.

    Args:
        spec: `gru`, `block_gru`, `llama`, `gpt2`, `gpt_neox`, `mamba`, `mamba2`, `slots`, `pocket` or
            `hf:NAME_OR_PATH[@REVISION]`; the last two with `+lora`, `+frozen` or `+random` behind them
            (random: the same architecture with fresh weights, all trained; `+random+lora` and
            `+random+frozen` are possible). Without these all weights are trained.
        token_width: D.
        config: how large.
        seed: of the random weights, which follow from it alone.

    Raises:
        CoreError: the string names no core, its body cannot be loaded, or the sizes do not fit.
    """
    config = config or CoreConfig()
    name, options = parse_core(spec)
    if token_width < 1 or config.width < 1:
        raise CoreError(f"a core needs widths of at least 1, got {token_width} and {config.width}")
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        hidden = config.hidden or None
        if name == "gru":
            return GRU(token_width, config.width, hidden)
        if name == "block_gru":
            wide = config.width
            return BlockGRU(token_width, wide, hidden, blocks=config.blocks, parts=config.parts)
        try:
            body = _body(name, options, config, seed)
        except LMError as error:
            reason = str(error).removeprefix("--lm ")
            raise CoreError(reason if spec in reason else f"core {spec}: {reason}") from error
        return _over(body, name, token_width, config)


def _over(body: Body, name: str, token_width: int, config: CoreConfig) -> Core:
    if name == "slots":
        return SlotsCore(body, token_width, config.slots)
    cores: dict[str, Callable[[], Core]] = {
        "mamba": lambda: MambaCore(body, token_width, config.window),
        "mamba2": lambda: Mamba2Core(body, token_width, config.window),
    }
    if body.kind in cores:
        return cores[body.kind]()
    return AttentionCore(body, token_width, config.window)


def _body(name: str, options: frozenset[str], config: CoreConfig, seed: int) -> Body:
    if name in FRESH:
        return fresh_body(
            FRESH[name],
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            positions=max(config.window, config.slots + 1),
            state_size=config.state_size,
            seed=seed,
        )
    body = load_body(name, random_weights="random" in options, seed=seed)
    training: Training = "lora" if "lora" in options else "full"
    training = "frozen" if "frozen" in options else training
    return adapt(body, training, rank=config.lora_rank, seed=seed)
