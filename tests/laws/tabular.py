"""Language models small enough to list every answer of, so that expectations are sums."""

import itertools

import torch

V, T = 3, 3
ANSWERS = list(itertools.product(range(V), repeat=T))
PREFIXES = [p for t in range(T) for p in itertools.product(range(V), repeat=t)]
ROW = {p: i for i, p in enumerate(PREFIXES)}
AT = torch.tensor([[ROW[a[:t]] for t in range(T)] for a in ANSWERS])
"""The prefix each token of each answer follows [answers, T]."""


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def table(seed: int) -> torch.Tensor:
    """Logits after every prefix [prefixes, V]."""
    return normal(seed, len(PREFIXES), V)


def logprobs(logits: torch.Tensor) -> torch.Tensor:
    """Of every token of every answer [answers, T]."""
    return logits.log_softmax(-1)[AT].gather(-1, torch.tensor(ANSWERS)[..., None])[..., 0]


def probability(logp: torch.Tensor) -> torch.Tensor:
    """Of every answer [answers]."""
    return logp.sum(-1).exp()


def gradient(value: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, theta, retain_graph=True)[0]


def groups(size: int) -> torch.Tensor:
    """Every group of `size` answers [len(ANSWERS) ** size, size]."""
    return torch.tensor(list(itertools.product(range(len(ANSWERS)), repeat=size)))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative to the truth's length."""
    return float((found - truth).norm() / truth.norm())
