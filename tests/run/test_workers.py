"""Several processes as one: what arrives, what is summed, and who is blamed when one is gone."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from understudy.run.errors import ConfigError, RunError
from understudy.run.workers import Follower, Message, crew, share


def serve(config: dict[str, float], follower: Follower) -> None:
    """Sums, echoes, and ways to fail."""
    weights = torch.nn.Parameter(torch.zeros(3))
    bias, unused = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.zeros(2))
    if config.get("never"):
        raise ConfigError("never: this one does not start")
    for name, message in follower.orders():
        if name == "gradients":
            follower.spread([weights, bias])
            (message.tensors["rows"] @ weights + bias).sum().backward()
            follower.add_gradients([weights, bias, unused])
            assert weights.grad is None
            follower.reply(Message({"seen": weights.tolist(), "rank": follower.rank}))
        elif name == "echo":
            follower.reply(message)
        elif name == "fail":
            raise ConfigError("rows: this one cannot")
        elif name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "sleep":
            time.sleep(60)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
def test_shares_are_all_items_in_order_and_nearly_equal(count: int) -> None:
    shares = [share(range(count), rank, 3) for rank in range(3)]
    assert [i for part in shares for i in part] == list(range(count))
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1


def test_gradients_are_summed_weights_and_messages_arrive() -> None:
    with crew(serve, {}, 2) as leader:
        weights = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        bias, unused = torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.zeros(2))
        rows = torch.arange(12.0).reshape(4, 3)
        for _ in range(2):
            weights.grad = bias.grad = None
            leader.order("gradients", [Message(tensors={"rows": rows[1:]})])
            leader.spread([weights, bias])
            (rows[:1] @ weights).sum().backward()  # the bias has a gradient in the follower only
            leader.add_gradients([weights, bias, unused])
            assert weights.grad is not None
            assert torch.equal(weights.grad, rows.sum(0))
            assert float(bias.grad) == 3
            assert unused.grad is None
            assert leader.replies()[0].fields == {"seen": [1.0, 2.0, 3.0], "rank": 1}
        odd = {"a": torch.tensor([True, False]), "b": torch.zeros(0, 2, dtype=torch.int64)}
        number = 0.1 + 0.2
        leader.order("echo", [Message({"text": "é\n", "number": number}, odd)])
        back = leader.replies()[0]
        assert back.fields == {"text": "é\n", "number": number}
        assert torch.equal(back.tensors["a"], odd["a"])
        assert back.tensors["b"].shape == (0, 2)


def waited(order: str, *, in_a_sum: bool = False, **config: float) -> None:
    with crew(serve, config, 2) as leader:
        leader.order(order)
        if in_a_sum:
            leader.add_gradients([torch.nn.Parameter(torch.zeros(3))])
        else:
            leader.replies()


@pytest.mark.parametrize(
    ("order", "in_a_sum", "says"),
    [("die", True, r"worker 1 of 2 died \(by SIGKILL\)"),
     ("fail", False, "worker 1 of 2 failed: rows: this one cannot")],
)  # fmt: skip
def test_a_worker_that_ends_ends_the_run_at_once(order: str, in_a_sum: bool, says: str) -> None:
    started = time.monotonic()
    with pytest.raises(RunError, match=says):
        waited(order, in_a_sum=in_a_sum)
    assert time.monotonic() - started < 60
    assert not torch.distributed.is_initialized()


def test_one_that_cannot_start_is_told() -> None:
    with pytest.raises(RunError, match="never: this one does not start"):
        waited("echo", never=1)


LEADER = """
import multiprocessing, sys, time
from tests.run.test_workers import serve
from understudy.run.workers import crew
if __name__ == "__main__":
    with crew(serve, {}, 2) as leader:
        print(multiprocessing.active_children()[0].pid, flush=True)
        leader.order(sys.argv[1])
        time.sleep(60)
"""


def test_followers_do_not_outlive_a_killed_leader(tmp_path) -> None:
    script = tmp_path / "leader.py"
    script.write_text(LEADER)
    leader = subprocess.Popen(
        [sys.executable, str(script), "echo"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )
    assert leader.stdout is not None
    follower = int(leader.stdout.readline())
    os.kill(follower, signal.SIGTERM)  # ignored: a signal to the group is the leader's to answer
    os.kill(follower, 0)
    leader.kill()
    leader.wait()
    leader.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(follower, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{follower}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                return
        time.sleep(0.05)
    os.kill(follower, signal.SIGKILL)
    raise AssertionError("the follower lives on")
