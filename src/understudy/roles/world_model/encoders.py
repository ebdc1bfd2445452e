"""From observations to features and back: vectors, discrete values, images and tokens.

Images follow the Nature version: convolutions of kernel 5 with a 2×2 maximum after each, depths
×(2, 3, 4, 4), mirrored by nearest-neighbour upsampling; the last layer's sigmoid is compared with
pixels / 255. The Nature version grows its first map from blocks of h; here one linear layer does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy import ops
from understudy.envs.base import EnvError
from understudy.roles.world_model.nets import MLP, Linear, RMSNorm, one_hot
from understudy.roles.world_model.spaces import Key

Batch = Mapping[str, Tensor]
DEPTHS = (2, 3, 4, 4)
SMALLEST = 1 << len(DEPTHS)


class Encoder(nn.Module):
    """x_t from all keys: [..., width]."""

    def __init__(
        self, keys: Sequence[Key], units: int, layers: int, depth: int, tokens: int
    ) -> None:
        """`tokens`: width of a token's embedding, which is made by the world model."""
        super().__init__()
        self.flat = [key for key in keys if key.kind in ("vector", "discrete")]
        self.token_keys = [key for key in keys if key.kind == "token"]
        self.images = [key for key in keys if key.kind == "image"]
        inputs = sum(key.shape[0] * max(1, key.classes) for key in self.flat)
        inputs += sum(key.shape[0] * tokens for key in self.token_keys)
        self.mlp = MLP(inputs, units, layers) if inputs else None
        self.cnns = nn.ModuleDict({key.name: _ConvDown(key, depth) for key in self.images})
        self.width = (self.mlp.width if self.mlp is not None else 0) + sum(
            cnn.width for cnn in self.cnns.values() if isinstance(cnn, _ConvDown)
        )

    def forward(self, batch: Batch, embedded: Mapping[str, Tensor]) -> Tensor:
        """Features of raw observations [..., *shape] and of embedded tokens [..., n, D]."""
        parts = list[Tensor]()
        if self.mlp is not None:
            flat = [_input(key, batch[key.name]) for key in self.flat]
            flat += [embedded[key.name].flatten(-2) for key in self.token_keys]
            parts.append(self.mlp(torch.cat(flat, -1)))
        parts += [self.cnns[key.name](batch[key.name]) for key in self.images]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _input(key: Key, value: Tensor) -> Tensor:
    if key.kind == "vector":
        return ops.symlog(value)
    return one_hot(value, key.classes).flatten(-2)


class Decoder(nn.Module):
    """Every key but the tokens, from features [..., D]."""

    def __init__(
        self, keys: Sequence[Key], inputs: int, units: int, layers: int, depth: int
    ) -> None:
        super().__init__()
        self.flat = [key for key in keys if key.kind in ("vector", "discrete")]
        self.images = [key for key in keys if key.kind == "image"]
        self.sizes = [key.shape[0] * max(1, key.classes) for key in self.flat]
        self.mlp = MLP(inputs, units, layers, sum(self.sizes)) if self.flat else None
        self.cnns = nn.ModuleDict({key.name: _ConvUp(key, inputs, depth) for key in self.images})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Vectors as symlog, discrete values as logits [..., n, K], images in 0 … 1."""
        found = dict[str, Tensor]()
        if self.mlp is not None:
            parts = self.mlp(features).split(self.sizes, -1)
            for key, part in zip(self.flat, parts, strict=True):
                discrete = key.kind == "discrete"
                found[key.name] = part.unflatten(-1, (-1, key.classes)) if discrete else part
        for key in self.images:
            found[key.name] = self.cnns[key.name](features)
        return found

    def losses(self, predicted: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Reconstruction loss [...] of each key: squared errors summed over features, or nats."""
        found = dict[str, Tensor]()
        for key in (*self.flat, *self.images):
            guess, target = predicted[key.name].float(), batch[key.name]
            if key.kind == "vector":
                found[key.name] = (guess - ops.symlog(target)).square().sum(-1)
            elif key.kind == "discrete":
                chosen = guess.log_softmax(-1).gather(-1, target[..., None].long())
                found[key.name] = -chosen[..., 0].sum(-1)
            else:
                found[key.name] = (guess - target.float() / 255).square().sum((-3, -2, -1))
        return found

    def observations(self, predicted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the predictions say in the environment's own units: to be looked at."""
        found = dict[str, Tensor]()
        for key in self.flat:
            guess = predicted[key.name]
            found[key.name] = ops.symexp(guess) if key.kind == "vector" else guess.argmax(-1)
        for key in self.images:
            found[key.name] = (predicted[key.name] * 255).round().clamp(0, 255).to(torch.uint8)
        return found


def _map_of(key: Key) -> tuple[int, int]:
    height, width = key.shape[:2]
    if height % SMALLEST or width % SMALLEST:
        raise EnvError(
            f"env: image {key.name!r} is {height}×{width}; both sides must be multiples of "
            f"{SMALLEST} (resize it with gymnasium.wrappers.ResizeObservation)"
        )
    return height // SMALLEST, width // SMALLEST


class _ChannelNorm(nn.Module):
    """RMSNorm over the channels of [N, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class _ConvDown(nn.Module):
    """[..., H, W, C] bytes to features."""

    def __init__(self, key: Key, depth: int) -> None:
        super().__init__()
        height, width = _map_of(key)
        channels, layers = key.shape[2], list[nn.Module]()
        for factor in DEPTHS:
            out = depth * factor
            layers += [nn.Conv2d(channels, out, 5, padding=2), nn.MaxPool2d(2)]
            layers += [_ChannelNorm(out), nn.SiLU()]
            channels = out
        self.net = nn.Sequential(*layers, nn.Flatten())
        self.width = height * width * channels

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.flatten(0, -4).movedim(-1, 1).float() / 255 - 0.5
        return self.net(pixels).unflatten(0, image.shape[:-3])


class _ConvUp(nn.Module):
    """Features to [..., H, W, C] in 0 … 1."""

    def __init__(self, key: Key, inputs: int, depth: int) -> None:
        super().__init__()
        height, width = _map_of(key)
        channels = depth * DEPTHS[-1]
        layers: list[nn.Module] = [
            Linear(inputs, channels * height * width),
            nn.Unflatten(-1, (channels, height, width)),
            _ChannelNorm(channels),
            nn.SiLU(),
        ]
        for factor in reversed(DEPTHS[:-1]):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(channels, depth * factor, 5, padding=2),
            ]
            layers += [_ChannelNorm(depth * factor), nn.SiLU()]
            channels = depth * factor
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(channels, key.shape[2], 5, padding=2)]
        self.net = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        image = F.sigmoid(self.net(features.flatten(0, -2)))
        return image.movedim(1, -1).unflatten(0, features.shape[:-1])
