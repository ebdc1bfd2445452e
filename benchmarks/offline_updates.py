"""Double DQN and FQE against d3rlpy's: the same people, networks, batches and schedule, in one run.

    python -m benchmarks.offline_updates [repetitions]

On the patient-like chain of `ope_coverage.py`, whose values are known in closed form.

1. CPU microseconds per gradient step, everything that a training does included, by turns.
2. Errors against the truth of Q after 3000 steps, and the value of a policy by FQE. d3rlpy's
   discrete networks have a Huber loss. Where somebody leaves, the target is far from what is
   expected, and a Huber loss makes little of it: their values lie too high. So both are told, theirs
   as it comes and theirs with the squared loss that ours has.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from benchmarks.ope_coverage import BEST, GAMMA, K, S, q_values, simulate, truth

from understudy.data.transitions import Offline
from understudy.roles.simulator.offline.config import FqeConfig, LearnConfig
from understudy.roles.simulator.offline.export import to_d3rlpy
from understudy.roles.simulator.offline.fqe import fqe, value_bounds
from understudy.roles.simulator.offline.learn import learn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports the old gym, which says that it is old
    import d3rlpy
    from d3rlpy.models.torch.q_functions import mean_q_function

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
PEOPLE, STEPS, BATCH, HIDDEN, RATE, EVERY = 300, 3000, 64, 32, 2e-3, 100
EVERY_STATE = np.eye(S, dtype=np.float32)
OUT = Path(__file__).parent / "results" / "offline_updates.json"


@dataclass(frozen=True)
class Trained:
    """What a training found, and the CPU seconds it took."""

    found: Any
    seconds: float


def timed(run: Callable[[], Any]) -> Trained:
    began = time.process_time()
    found = run()
    return Trained(found, time.process_time() - began)


@contextmanager
def squared_loss() -> Iterator[None]:
    """d3rlpy's discrete networks with the squared loss in place of the Huber loss."""
    huber = mean_q_function.compute_huber_loss
    mean_q_function.compute_huber_loss = lambda value, target: (value - target) ** 2
    try:
        yield
    finally:
        mean_q_function.compute_huber_loss = huber


def _settings(steps: int) -> dict[str, Any]:
    schedule = d3rlpy.optimizers.CosineAnnealingLRFactory(T_max=steps, eta_min=RATE / 10)
    return {
        "batch_size": BATCH, "learning_rate": RATE, "gamma": GAMMA, "target_update_interval": EVERY,
        "encoder_factory": d3rlpy.models.VectorEncoderFactory([HIDDEN, HIDDEN], use_layer_norm=True),
        "optim_factory": d3rlpy.optimizers.AdamFactory(lr_scheduler_factory=schedule),
    }  # fmt: skip


def _fit(learner: Any, data: Any, steps: int) -> Any:
    quiet = d3rlpy.logging.NoopAdapterFactory()
    learner.fit(
        data, n_steps=steps, n_steps_per_epoch=steps, show_progress=False, logger_adapter=quiet
    )
    return learner


def their_ddqn(data: Offline, steps: int, seed: int) -> Trained:
    """d3rlpy's policy."""
    d3rlpy.seed(seed)
    learner, their_data = d3rlpy.algos.DoubleDQNConfig(**_settings(steps)), to_d3rlpy(data)
    return timed(lambda: _fit(learner.create(device=False), their_data, steps))


def their_fqe(data: Offline, policy: Any, steps: int, seed: int) -> Trained:
    """d3rlpy's FQE of a policy of its own."""
    d3rlpy.seed(seed)
    config = d3rlpy.ope.FQEConfig(**_settings(steps))
    judge, their_data = d3rlpy.ope.DiscreteFQE(algo=policy, config=config), to_d3rlpy(data)
    return timed(lambda: _fit(judge, their_data, steps))


def our_ddqn(data: Offline, steps: int, seed: int) -> Trained:
    """Our policy."""
    config = LearnConfig(
        gamma=GAMMA, steps=steps, batch=BATCH, hidden=HIDDEN, learning_rate=RATE,
        target_every=EVERY, clip=0.0,
    )  # fmt: skip
    return timed(lambda: learn(data, config, np.random.default_rng(seed)))


def our_fqe(data: Offline, policy: Any, steps: int, seed: int) -> Trained:
    """Our FQE of d3rlpy's policy."""
    shares = tuple(np.eye(K)[policy.predict(x.astype(np.float32))] for x in _both(data))
    config = FqeConfig(steps=steps, batch=BATCH, hidden=HIDDEN, learning_rate=RATE)
    bounds, one = value_bounds(data.rewards, GAMMA), np.ones((1, data.n))
    rng = np.random.default_rng(seed)
    return timed(lambda: fqe(data, [shares], one, config, rng, gamma=GAMMA, bounds=bounds))


def _both(data: Offline) -> tuple[np.ndarray, np.ndarray]:
    return data.states, data.next_states


def their_q(policy: Any) -> np.ndarray:
    """[S, K] what d3rlpy's policy thinks of every action in every state."""
    values = [policy.predict_value(EVERY_STATE, np.full(S, a)) for a in range(K)]
    return np.stack(values, axis=1)


def their_value(judge: Any, policy: Any, data: Offline) -> float:
    """The mean value of the people's first states."""
    first = data.states[data.starts].astype(np.float32)
    return float(judge.predict_value(first, policy.predict(first)).mean())


def accuracy(data: Offline) -> dict[str, Any]:
    """Errors of both, each after a whole training."""
    best = q_values(BEST.table)

    def row(q: np.ndarray) -> dict[str, float]:
        gap = q - best
        return {"mean error": float(gap.mean()), "mean absolute error": float(np.abs(gap).mean())}

    ours = our_ddqn(data, STEPS, 2).found.outputs(EVERY_STATE)
    found = {"ours": row(ours), "d3rlpy": row(their_q(their_ddqn(data, STEPS, 2).found))}
    with squared_loss():
        policy = their_ddqn(data, STEPS, 2).found
        theirs = their_q(policy)
        judge = their_fqe(data, policy, STEPS, 3).found
    found["d3rlpy, squared loss"] = row(theirs) | {
        "mean distance from ours": float(np.abs(theirs - ours).mean())
    }
    huber = their_fqe(data, policy, STEPS, 3).found
    values = {
        "truth": truth(np.eye(K)[policy.predict(EVERY_STATE)]),
        "ours": float(our_fqe(data, policy, STEPS, 3).found.values[0, 0]),
        "d3rlpy": their_value(huber, policy, data),
        "d3rlpy, squared loss": their_value(judge, policy, data),
    }
    return {"double dqn": found, "fqe": values}


def speed(data: Offline, repetitions: int, steps: int = 1000) -> dict[str, Any]:
    """Medians of CPU microseconds per gradient step."""
    spent: dict[str, list[float]] = {}
    for seed in range(repetitions):
        theirs = their_ddqn(data, steps, seed)
        rows = {
            "double dqn d3rlpy": theirs,
            "double dqn ours": our_ddqn(data, steps, seed),
            "fqe d3rlpy": their_fqe(data, theirs.found, steps, seed),
            "fqe ours": our_fqe(data, theirs.found, steps, seed),
        }
        for name, trained in rows.items():
            spent.setdefault(name, []).append(1e6 * trained.seconds / steps)
    medians = {name: round(float(np.median(values)), 1) for name, values in spent.items()}
    ratios = {
        f"{what} ratio": round(medians[f"{what} d3rlpy"] / medians[f"{what} ours"], 2)
        for what in ("double dqn", "fqe")
    }
    return medians | ratios


def main(repetitions: str = "5") -> None:
    torch.set_num_threads(1)
    data = simulate(PEOPLE, np.random.default_rng(1))
    result = {
        "versions": {"d3rlpy": d3rlpy.__version__, "torch": torch.__version__},
        "repetitions": int(repetitions),
        "microseconds per gradient step": speed(data, int(repetitions)),
        "accuracy": accuracy(data),
    }
    print(json.dumps(result, indent=2))
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
