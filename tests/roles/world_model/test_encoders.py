"""Observations in and out: shapes, losses by hand, and images."""

import pytest
import torch

from understudy.envs.base import EnvError
from understudy.roles.world_model.encoders import Decoder, Encoder
from understudy.roles.world_model.nets import MLP, TwoHotHead, initialise
from understudy.roles.world_model.spaces import Key

KEYS = (
    Key("place", "discrete", (2,), "int64", 3),
    Key("speed", "vector", (2,), "float32"),
    Key("view", "image", (32, 16, 3), "uint8"),
)


def batch():
    generator = torch.Generator().manual_seed(0)
    return {
        "place": torch.randint(3, (4, 5, 2), generator=generator),
        "speed": torch.randn(4, 5, 2, generator=generator) * 100,
        "view": torch.randint(256, (4, 5, 32, 16, 3), generator=generator, dtype=torch.uint8),
    }


def test_every_kind_goes_in_and_comes_out():
    encoder, decoder = Encoder(KEYS, 8, 1, 2, 0), Decoder(KEYS, 6, 8, 1, 2)
    assert encoder(batch(), {}).shape == (4, 5, encoder.width)
    predicted = decoder(torch.randn(4, 5, 6))
    assert predicted["place"].shape == (4, 5, 2, 3)
    assert predicted["view"].shape == (4, 5, 32, 16, 3)
    assert 0 <= predicted["view"].min() <= predicted["view"].max() <= 1
    assert {k: v.shape for k, v in decoder.losses(predicted, batch()).items()} == dict.fromkeys(
        ("place", "speed", "view"), (4, 5)
    )
    seen = decoder.observations(predicted)
    assert seen["view"].dtype == torch.uint8
    assert seen["place"].shape == (4, 5, 2)


def test_reconstruction_losses_by_hand():
    # symlog(e − 1) = 1: (0.5 − 1)² + (2 − 0)² = 4.25; two discrete values at p = 1/3 cost 2 ln 3;
    # 1536 pixels that are 255 and guessed as ½ cost ¼ each.
    decoder = Decoder(KEYS, 6, 8, 1, 2)
    predicted = {
        "place": torch.zeros(1, 2, 3), "speed": torch.tensor([[0.5, 2.0]]),
        "view": torch.full((1, 32, 16, 3), 0.5),
    }  # fmt: skip
    target = {
        "place": torch.tensor([[0, 2]]), "speed": torch.tensor([[torch.e - 1, 0.0]]),
        "view": torch.full((1, 32, 16, 3), 255, dtype=torch.uint8),
    }  # fmt: skip
    found = {k: float(v) for k, v in decoder.losses(predicted, target).items()}
    assert found["speed"] == pytest.approx(4.25)
    assert found["place"] == pytest.approx(2 * 1.0986123)
    assert found["view"] == pytest.approx(1536 / 4)


def test_both_learn_one_image():
    key = Key("view", "image", (16, 16, 1), "uint8")
    image = torch.zeros(1, 16, 16, 1, dtype=torch.uint8)
    image[:, 4:9, 6:12] = 255
    encoder, decoder = Encoder([key], 8, 1, 2, 0), Decoder([key], 32, 8, 1, 4)
    through = torch.nn.Linear(encoder.width, 32)
    generator = torch.Generator().manual_seed(1)
    for part in (encoder, decoder):
        initialise(part, generator)
    params = [*encoder.parameters(), *decoder.parameters(), *through.parameters()]
    optimizer = torch.optim.Adam(params, 1e-2)
    losses = []
    for _ in range(60):
        guess = decoder(through(encoder({"view": image}, {})))
        loss = decoder.losses(guess, {"view": image})["view"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_an_image_of_odd_size_is_told():
    with pytest.raises(EnvError, match="20×16"):
        Encoder([Key("view", "image", (20, 16, 3), "uint8")], 8, 1, 2, 0)


@pytest.mark.parametrize("even", [False, True])
def test_a_head_learns_a_large_number_and_a_small_one(even):
    head = TwoHotHead(2, 16, 1, 127, even=even)
    initialise(head, torch.Generator().manual_seed(0))
    x, y = torch.eye(2), torch.tensor([-3000.0, 0.25])
    assert head.mean(head(x)).tolist() == [0.0, 0.0]
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for _ in range(800):
        optimizer.zero_grad()
        head.loss(head(x), y).mean().backward()
        optimizer.step()
    # What is left on bins of 10⁸ weighs on small values until it is unlearnt.
    found = head.mean(head(x)).tolist()
    assert found[0] == pytest.approx(-3000, rel=0.05)
    assert found[1] == pytest.approx(0.25, abs=0.05)


def test_the_same_generator_gives_the_same_weights():
    one, two = MLP(3, 4, 2, 5), MLP(3, 4, 2, 5)
    for net in (one, two):
        initialise(net, torch.Generator().manual_seed(7))
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    deep = MLP(400, 200, 1)
    initialise(deep, torch.Generator().manual_seed(7))
    # Variance 1 / 400 after the cut: 80,000 draws give it within 3 %.
    assert float(deep[0].weight.detach().std()) == pytest.approx(0.05, rel=0.03)
