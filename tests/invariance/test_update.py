"""The update rule against a naive one over transformers' own forward, and what must not change it."""

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch

from understudy.lm.fake import tiny_model
from understudy.lm.local import LocalLM
from understudy.roles.policy.config import Algorithm, Kl, LossConfig, PolicyConfig
from understudy.roles.policy.update import Anchor, Group, update

HOWS = ("token", "sequence", "constant")
KL_COEF = 0.1


def batch(lm: LocalLM, reference: LocalLM | None = None, *, forced: bool = True) -> list[Group]:
    """Six groups of two answers of uneven length, one of them silent; old log-probabilities are off-policy."""
    rng = torch.Generator().manual_seed(3)
    groups: list[Group] = []
    for u in range(6):
        prompt = lm.encode(f"{u}" * (1 + u % 3))
        ids = [torch.randint(5, 60, (3 + 2 * g + u % 4,), generator=rng).tolist() for g in range(2)]
        ids = [[*row, min(lm.eos_ids)] for row in ids]
        noise = [(0.1 * torch.randn(len(row), generator=rng)).tolist() for row in ids]
        with torch.no_grad():
            new = lm.logprobs([prompt], [ids]).tolist()
        old = [
            [a + b for a, b in zip(row, shift, strict=False)]
            for row, shift in zip(new, noise, strict=True)
        ]
        sampled = [[not (forced and t == 2) for t in range(len(row))] for row in ids]
        score = 0.0 if u == 4 else 0.5 + 0.2 * u
        advantages = [[s * score] * len(row) for s, row in zip((1, -1), ids, strict=True)]
        groups.append(
            Group(
                prompt,
                ids,
                [row[: len(i)] for row, i in zip(old, ids, strict=True)],
                sampled,
                advantages,
            )
        )
    return groups


def config(**changes) -> PolicyConfig:
    loss = {"kl_coef": 0.0, **changes.pop("loss", {})}
    plain = PolicyConfig(
        prompts=6, group=2, max_grad_norm=1e9, max_tokens=16, loss=LossConfig(**loss)
    )
    return dataclasses.replace(plain, **changes)


def updated(
    lm: LocalLM, groups: Sequence[Group], settings: PolicyConfig, anchors: Sequence[Anchor] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, float]]:
    """Gradients and weights after one plain gradient step on a copy of the model."""
    model = copy.deepcopy(lm.model)
    mine = LocalLM(model, lm.tokenizer)
    stats = update(mine, torch.optim.SGD(mine.parameters(), lr=0.1), groups, settings, anchors)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return gradients, {n: p.detach().clone() for n, p in model.named_parameters()}, stats


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def largest(a: dict[str, torch.Tensor]) -> float:
    return max(float(x.abs().max()) for x in a.values())


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return tiny_model(1, hidden=16, heads=2, kv_heads=1)


@pytest.fixture(scope="module")
def reference() -> LocalLM:
    return tiny_model(2, hidden=16, heads=2, kv_heads=1)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("parts", [2, 3, 6])
def test_accumulated_parts_add_up_to_the_whole(
    how: str, parts: int, lm: LocalLM, reference: LocalLM
) -> None:
    loss = {"aggregate": how, "kl_coef": KL_COEF, "skip_silent": False}
    anchors = [Anchor(reference, KL_COEF)]
    whole = updated(lm, batch(lm), config(loss=loss), anchors)
    split = updated(lm, batch(lm), config(loss=loss, accumulate=parts), anchors)
    assert largest(whole[0]) > 0.01
    assert distance(whole[0], split[0]) < 1e-6
    assert distance(whole[1], split[1]) < 1e-6


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_silent_groups_may_be_left_out(how: str, algorithm: Algorithm, lm: LocalLM) -> None:
    groups = batch(lm)
    assert [g.silent for g in groups] == [u == 4 for u in range(6)]
    kept, left_out = (
        updated(
            lm, groups, config(algorithm=algorithm, loss={"aggregate": how, "skip_silent": skip})
        )
        for skip in (False, True)
    )
    assert distance(kept[1], left_out[1]) < 1e-7
    assert left_out[2]["skipped_groups"] == pytest.approx(1 / 6)
    # It is the denominators that make it so.
    fewer = updated(lm, [g for g in groups if not g.silent], config(loss={"aggregate": how}))
    assert distance(kept[1], fewer[1]) > 1e-5


def test_nothing_is_updated_where_every_group_is_silent(lm: LocalLM) -> None:
    gradients, weights, stats = updated(lm, [batch(lm)[4]], config())
    assert gradients == {}
    assert distance(weights, {n: p.detach() for n, p in lm.model.named_parameters()}) == 0
    assert stats == {"skipped_groups": 1.0}


def naive(lm: LocalLM, reference: LocalLM, groups: Sequence[Group], settings: PolicyConfig):
    """The loss of section by section of the docstring, one answer and one token at a time."""
    model, rows, beta = copy.deepcopy(lm.model), [], settings.loss.kl_coef
    for group in groups:
        for ids, old, sampled, advantages in zip(
            group.ids, group.old_logprobs, group.sampled, group.advantages, strict=True
        ):
            text = torch.tensor([[*group.prompt, *ids]])

            def scores(of, text=text, ids=ids, group=group):
                logits = of(text).logits[0, len(group.prompt) - 1 : -1] / settings.temperature
                return torch.log_softmax(logits, -1)[torch.arange(len(ids)), torch.tensor(ids)]

            new = scores(model)
            with torch.no_grad():
                ratio = [
                    float(a - b) if s else 0.0
                    for a, b, s in zip(new, scores(reference.model), sampled, strict=True)
                ]
                log_r = scores(reference.model)
            losses = []
            for t in range(len(ids)):
                if not sampled[t]:
                    continue
                advantage, extra = advantages[t], torch.zeros(())
                if settings.loss.kl == "exact":
                    advantage -= beta * sum(ratio[t:])
                elif settings.loss.kl == "k1":
                    advantage -= beta * sum(ratio)
                elif settings.loss.kl == "k2":
                    extra = beta * (new[t] - log_r[t]) ** 2 / 2
                else:
                    extra = beta * (torch.exp(log_r[t] - new[t]) - 1 + new[t] - log_r[t])
                if settings.algorithm == "grpo":
                    rho = torch.exp(new[t] - old[t])
                    low, high = 1 - settings.loss.clip_low, 1 + settings.loss.clip_high
                    surrogate = torch.minimum(rho * advantage, rho.clamp(low, high) * advantage)
                else:
                    surrogate = new[t] * advantage
                losses.append(extra - surrogate)
            rows.append(losses)
    if settings.loss.aggregate == "sequence":
        loss = sum(sum(r) / len(r) for r in rows) / len(rows)
    elif settings.loss.aggregate == "token":
        loss = sum(sum(r) for r in rows) / sum(map(len, rows))
    else:
        loss = sum(sum(r) for r in rows) / (len(rows) * settings.max_tokens)
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize("algorithm", ["reinforce", "rloo", "grpo"])
@pytest.mark.parametrize(
    ("kl", "how"), [("exact", "token"), ("exact", "sequence"), ("exact", "constant"), ("k1", "token"),
                    ("k2", "sequence"), ("k3", "token")],
)  # fmt: skip
def test_the_update_is_the_naive_one(
    algorithm: Algorithm, kl: Kl, how: str, lm: LocalLM, reference: LocalLM
) -> None:
    loss = {
        "kl": kl,
        "kl_coef": KL_COEF,
        "aggregate": how,
        "skip_silent": False,
        "clip_low": 0.05,
        "clip_high": 0.08,
    }
    settings = config(algorithm=algorithm, temperature=0.8, loss=loss)
    groups = batch(lm)
    gradients, _, stats = updated(lm, groups, settings, [Anchor(reference, KL_COEF)])
    expected = naive(lm, reference, groups, settings)
    assert distance(gradients, expected) < 1e-5
    assert largest(expected) > 0.01
    if algorithm == "grpo":
        assert 0.1 < stats["clip_fraction"] < 0.9


def test_a_teacher_is_one_more_anchor(lm: LocalLM, reference: LocalLM) -> None:
    """Two anchors of half the weight are one of the whole weight."""
    settings = config(loss={"kl_coef": KL_COEF, "skip_silent": False})
    one = updated(lm, batch(lm), settings, [Anchor(reference, KL_COEF)])
    halves = [Anchor(reference, KL_COEF / 2, name) for name in ("kl", "distill_kl")]
    two = updated(lm, batch(lm), settings, halves)
    none = updated(lm, batch(lm), settings)
    assert distance(one[0], two[0]) < 1e-6
    assert distance(one[0], none[0]) > 1e-3
    assert two[2]["kl"] == two[2]["distill_kl"] == one[2]["kl"]


@pytest.mark.parametrize("kl", ["k1", "k2", "k3"])
def test_a_teacher_is_followed_exactly_whatever_the_reference(
    kl: Kl, lm: LocalLM, reference: LocalLM
) -> None:
    teacher = [Anchor(reference, KL_COEF, "distill_kl")]
    exact, other = (
        updated(lm, batch(lm), config(loss={"kl": how, "skip_silent": False}), teacher)[0]
        for how in ("exact", kl)
    )
    assert distance(exact, other) == 0


def test_forced_tokens_carry_no_loss_and_the_end_token_does(lm: LocalLM) -> None:
    groups = batch(lm)
    plain = updated(lm, groups, config())[0]

    def changed(t: int) -> float:
        advantages = [[list(row) for row in g.advantages] for g in groups]
        advantages[0][0][t] += 5.0
        other = [
            dataclasses.replace(g, advantages=a) for g, a in zip(groups, advantages, strict=True)
        ]
        return distance(plain, updated(lm, other, config())[0])

    ids, sampled = groups[0].ids[0], groups[0].sampled[0]
    assert ids[-1] in lm.eos_ids
    for t in range(len(ids)):
        assert (changed(t) > 1e-3) == sampled[t], t
    assert changed(2) == 0
    # Nor does what the sampler noted for a forced token.
    old = [[list(row) for row in g.old_logprobs] for g in groups]
    old[0][0][2] += 9.0
    other = [dataclasses.replace(g, old_logprobs=o) for g, o in zip(groups, old, strict=True)]
    off = updated(lm, other, config(algorithm="grpo"))
    assert distance(off[0], updated(lm, groups, config(algorithm="grpo"))[0]) == 0


def test_minibatches_and_epochs_are_steps(lm: LocalLM) -> None:
    """Two minibatches twice: four steps, each on its own half, as if called one by one."""
    groups = batch(lm)
    together = updated(lm, groups, config(algorithm="grpo", minibatches=2, epochs=2))[1]
    mine = LocalLM(copy.deepcopy(lm.model), lm.tokenizer)
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.1)
    for half in (groups[:3], groups[3:]) * 2:
        update(mine, optimizer, half, config(algorithm="grpo"), [])
    assert distance(together, {n: p.detach() for n, p in mine.model.named_parameters()}) == 0
