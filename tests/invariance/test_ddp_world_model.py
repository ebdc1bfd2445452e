"""A world model trained in two processes is the one trained in one; checkpoints move both ways."""

import copy
import itertools
from pathlib import Path

import pytest
import torch

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, go_on, moved
from tests.roles.processes import command
from tests.roles.world_model.parts import chunk, noise, settings
from tests.roles.world_model.processes import CASES, arguments, path
from understudy.roles.world_model.agent import Part, gradients
from understudy.run.metrics import read


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """25 updates in one process; the last 20 again in two.

    Of the version of 2023: the later one reads values off bins out to e²⁰, which blow rounding up to
    2.7e-4 here. That its parts add up is tested below.
    """
    made = tmp_path_factory.mktemp("ddp")
    args = [*arguments(made, "gru", "plain"), "--version", "2023"]
    assert command([*args, "--run.checkpoint_every", "1", "--run.keep", "99"]) == 0
    plain = path(made, "gru", "plain")
    return {"plain": plain, "two": go_on(cut(plain, 80, "two"), "--workers", "2")}


def test_two_processes_learn_what_one_does(runs: dict[str, Path]) -> None:
    plain, two = checkpoint(runs["plain"]), checkpoint(runs["two"])
    before = checkpoint(cut(runs["plain"], 80, "before"))
    assert plain.state["updates"] - before.state["updates"] == 20
    assert moved(before.tensors["agent"], plain, "agent") > 1e-3
    assert apart(plain, two, "agent") < CLOSE


def test_what_is_logged_is_the_same(runs: dict[str, Path]) -> None:
    plain, two = (read(run / "metrics.jsonl") for run in runs.values())
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)


def test_one_process_goes_on_where_two_were(runs: dict[str, Path]) -> None:
    saved = (int(f.name) for f in (runs["two"] / "checkpoints").iterdir() if f.is_dir())
    middle = min(step for step in saved if step >= 112)
    half = go_on(cut(runs["two"], middle, "two-then-one"), "--workers", "1")
    assert apart(checkpoint(runs["plain"]), checkpoint(half), "agent") < CLOSE


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bounds", [(0, 2, 4), (0, 1, 4), (0, 1, 2, 3, 4)])
def test_the_parts_of_a_batch_add_up_to_it(case: str, bounds: tuple[int, ...]) -> None:
    config = settings(*CASES[case])
    agent, _, batch, _ = chunk(config)
    for layer in (agent.model.reward.net[-1], agent.behaviour.critic.net[-1]):
        torch.nn.init.normal_(layer.weight, generator=noise(5))
    scales: list[torch.Tensor] = []

    def span(returns: torch.Tensor, rate: float) -> torch.Tensor:
        scales.append(agent.behaviour.span(returns, rate))
        return scales[-1]

    twin = copy.deepcopy(agent)
    done = gradients(agent, batch, config, noise(), Part(span=span))
    parts = []
    for first, end in itertools.pairwise(bounds):
        some = {name: value[first:end] for name, value in batch.items()}
        part = Part(first, 4, lambda returns, rate: scales[0])
        parts.append(gradients(twin, some, config, noise(), part))
    for name, value in done.stats.items():
        total = sum(float(p.stats[name]) for p in parts)
        assert total == pytest.approx(float(value), rel=1e-4, abs=1e-5), name
    if done.states is not None:
        states = torch.cat([p.states for p in parts if p.states is not None])
        torch.testing.assert_close(states, done.states)
    for (name, a), b in zip(agent.named_parameters(), twin.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None and b.grad is not None:
            assert float((a.grad - b.grad).abs().max()) < 1e-5 * (1 + float(a.grad.abs().max())), (
                name
            )
