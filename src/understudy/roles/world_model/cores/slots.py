"""The slots core: a language model's body iterated as a transition network, not over time.

The token becomes a few slots, one more is there to be read, the previous slots are added, and the body
runs over them; what comes out are the next slots. The read-out slot is the LAST one: a causal body
lets it see all the others, and so the latent and the action, which a first one never would.
"""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.lm.backbone import Body
from understudy.roles.world_model.cores.base import RecurrentCore, State
from understudy.roles.world_model.cores.layers import Inward
from understudy.roles.world_model.cores.spec import CoreError


class SlotsCore(RecurrentCore):
    """A body over `slots` slots of the token and one that is read.

    Args:
        body: an attention body of `understudy.lm.backbone`.
        token_width: D.
        slots: how many the token makes.

    Raises:
        CoreError: the body has no attention, or no room for the slots.
    """

    coupled = True

    def __init__(self, body: Body, token_width: int, slots: int = 3) -> None:
        super().__init__()
        if body.state_space:
            raise CoreError(f"a {body.kind} body has no attention over slots")
        if slots < 1 or (body.positions is not None and slots >= body.positions):
            raise CoreError(f"{slots} slots: at least 1, and fewer than the body's positions")
        self.token_width, self.width, self.slots = token_width, body.width, slots
        self.inward = Inward(token_width, slots * body.width, 1.0)  # as large as the slots before
        self.body = body

    def init_state(self, batch: int) -> State:
        """As `Core.init_state`."""
        zero = next(self.inward.parameters()).new_zeros
        return {"h": zero(batch, self.width), "slots": zero(batch, self.slots, self.width)}

    def prepare(self, tokens: Tensor) -> Tensor:
        """The tokens' slots [..., slots, width]."""
        return self.inward(tokens).unflatten(-1, (self.slots, self.width))

    def advance(self, x: Tensor, state: State) -> State:
        """As `RecurrentCore.advance`."""
        count = self.slots + 1
        slots = torch.cat([x + state["slots"], state["h"][:, None]], dim=1)
        positions = torch.arange(count, device=x.device).expand(x.shape[0], -1)
        visible = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
        hidden, _ = self.body(slots, visible.expand(x.shape[0], -1, -1), positions, [])
        return {"h": hidden[:, -1], "slots": hidden[:, :-1]}
