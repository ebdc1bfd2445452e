"""A world model trained in two processes is the one trained in one."""

import copy
import itertools
from pathlib import Path

import pytest
import torch

from tests.invariance.ddp import CLOSE, apart, checkpoint, cut, moved, ran
from tests.roles.world_model.parts import chunk, noise, settings
from tests.roles.world_model.processes import CASES, arguments, path
from understudy.roles.world_model.agent import Part, gradients
from understudy.roles.world_model.setup import make_agent, make_envs
from understudy.run.metrics import read
from understudy.run.seed import Seeds


def go(folder: Path, case: str, name: str, *flags: str) -> Path:
    ran(
        *arguments(folder, case, name), "--steps", "144", "--run.checkpoint_every", "1",
        "--run.keep", "99", *flags,
    )  # fmt: skip
    return path(folder, case, name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Nature's version, in one process and in two; that of 2023, in one."""
    made = tmp_path_factory.mktemp("ddp")
    return {
        "plain": go(made, "gru", "plain"),
        "two": go(made, "gru", "two", "--workers", "2"),
        "2023": go(made, "2023", "plain"),
    }


def test_two_processes_learn_what_one_does(runs: dict[str, Path]) -> None:
    plain, two = checkpoint(runs["plain"]), checkpoint(runs["two"])
    assert plain.state["updates"] >= 20
    config = settings(*CASES["gru"])
    first = make_agent(config, make_envs(config, Seeds(0), "envs", 1), Seeds(0))
    assert moved(dict(first.state_dict()), plain, "agent") > 1e-3
    assert apart(plain, two, "agent") < CLOSE


def test_what_is_logged_is_the_same(runs: dict[str, Path]) -> None:
    plain, two = (read(runs[name] / "metrics.jsonl") for name in ("plain", "two"))
    assert [row.keys() for row in plain] == [row.keys() for row in two]
    for a, b in zip(plain, two, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("begun", "workers"), [("2023", "2"), ("two", "1")])
def test_a_checkpoint_goes_on_with_another_number_of_workers(
    begun: str, workers: str, runs: dict[str, Path]
) -> None:
    steps = sorted(int(f.name) for f in (runs[begun] / "checkpoints").iterdir() if f.is_dir())
    half = cut(runs[begun], next(s for s in steps if s >= 96), f"{begun}-then-{workers}")
    ran("resume", str(half), "--run.progress", "false", "--workers", workers)
    whole = runs["2023" if begun == "2023" else "plain"]
    assert apart(checkpoint(whole), checkpoint(half), "agent") < CLOSE


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
