"""Policies to judge: what was learnt, and the comparators it must stand beside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from understudy.data.transitions import Scaler
from understudy.roles.simulator.offline.config import OfflineError, require
from understudy.roles.simulator.offline.networks import Networks, restore

Floats = NDArray[np.float64]


class Policy(Protocol):
    """What chooses actions, by the state before the decision."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def probabilities(self, states: ArrayLike) -> Floats:
        """π(a|s) of states [N, D], in the study's own units: [N, K]."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always the same action."""

    action: int
    n_actions: int
    name: str = ""

    def __post_init__(self) -> None:
        """Names it; raises OfflineError where there is no such action."""
        require("a fixed policy's action", self.action, 0, self.n_actions - 1)
        if not self.name:
            object.__setattr__(self, "name", f"always {self.action}")

    def probabilities(self, states: ArrayLike) -> Floats:
        """1 for its action."""
        out = np.zeros((len(np.asarray(states)), self.n_actions))
        out[:, self.action] = 1.0
        return out


@dataclass(frozen=True)
class Uniform:
    """Every action equally often."""

    n_actions: int
    name: str = "random"

    def probabilities(self, states: ArrayLike) -> Floats:
        """1/K each."""
        return np.full((len(np.asarray(states)), self.n_actions), 1 / self.n_actions)


@dataclass(frozen=True, eq=False)
class Learned:
    """A network's choice: the greedy action of Q-values, or an imitator's probabilities.

    It scales states by its own training people's units, whoever asks.
    """

    networks: Networks
    """One network."""
    scaler: Scaler
    greedy: bool
    """True: the action of greatest output. False: outputs are logits."""
    name: str
    scale: float = 1.0
    """What outputs are multiplied by to be values."""
    record: str = "{}"
    """How it was learnt, as JSON."""

    def outputs(self, states: ArrayLike) -> Floats:
        """Q(s, a) or logits [N, K]."""
        x = torch.from_numpy(self.scaler(states).astype(np.float32))
        with torch.no_grad():
            found = self.networks(x[None])[0].numpy().astype(np.float64)
        return found * self.scale

    def probabilities(self, states: ArrayLike) -> Floats:
        """π(a|s) [N, K]."""
        out = self.outputs(states)
        if self.greedy:
            return np.eye(out.shape[1])[out.argmax(1)]
        powers = np.exp(out - out.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def save(self, path: Path) -> None:
        """Writes weights, with all that is needed to use them, to one .safetensors file.

        Raises:
            OfflineError: the file cannot be written.
        """
        header = {
            "shape": self.networks.shape,
            "mean": self.scaler.mean,
            "std": self.scaler.std,
            "greedy": self.greedy,
            "name": self.name,
            "scale": self.scale,
            "record": json.loads(self.record),
        }
        temporary = path.with_name(path.name + ".part")
        try:
            save_file(
                {"flat": self.networks.flat.detach().contiguous()},
                temporary,
                metadata={"policy": json.dumps(header)},
            )
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            raise OfflineError(f"{path}: cannot write the policy ({error})") from error

    @classmethod
    def load(cls, path: Path) -> Learned:
        """Reads what `save` wrote.

        Raises:
            OfflineError: no such file, or no policy in it; it names the path.
        """
        if not path.is_file():
            raise OfflineError(f"{path}: no such policy")
        try:
            with safe_open(path, "pt") as file:
                header: dict[str, Any] = json.loads((file.metadata() or {})["policy"])
                flat = file.get_tensor("flat")
            return cls(
                networks=restore(tuple(header["shape"]), flat),
                scaler=Scaler(tuple(header["mean"]), tuple(header["std"])),
                greedy=bool(header["greedy"]),
                name=str(header["name"]),
                scale=float(header["scale"]),
                record=json.dumps(header["record"]),
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise OfflineError(f"{path}: not a policy ({error})") from error
