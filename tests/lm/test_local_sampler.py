import math

import numpy as np
import pytest
import torch

from tests.lm import local_cases as cases
from understudy.lm.base import LMError, Reaction, Sampling
from understudy.lm.fake import tiny_model
from understudy.lm.sampler import draw, uniforms

# Probabilities 0.1, 0.4, 0.2, 0.3 in vocabulary order.
LOGITS = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()


@pytest.mark.parametrize(
    ("sampling", "allowed", "expected"),
    [
        (Sampling(), None, [0.1, 0.4, 0.2, 0.3]),
        (Sampling(temperature=0.5), None, [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3]),
        (Sampling(top_k=2), None, [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_p=0.69), None, [0, 4 / 7, 0, 3 / 7]),
        (Sampling(top_p=0.71), None, [0, 4 / 9, 2 / 9, 3 / 9]),
        (Sampling(top_p=0.01), None, [0, 1, 0, 0]),
        (Sampling(top_k=3, top_p=0.5), None, [0, 4 / 7, 0, 3 / 7]),
        (Sampling(), [True, False, True, True], [1 / 6, 0, 2 / 6, 3 / 6]),
        (Sampling(top_k=1), [True, False, True, True], [0, 0, 0, 1]),
        (Sampling(temperature=0), [True, True, True, False], [0, 1, 0, 0]),
    ],
)
def test_draws_by_inversion_of_the_distribution_it_reports(sampling, allowed, expected):
    # 10,000 evenly spread uniforms must hit each token in proportion to its probability.
    uniform = torch.arange(10_000, dtype=torch.float64) / 10_000
    logits = LOGITS if allowed is None else LOGITS.masked_fill(~torch.tensor(allowed), -torch.inf)
    token, logprob = draw(logits.expand(10_000, -1), uniform, sampling)
    share = torch.bincount(token, minlength=4) / 10_000
    torch.testing.assert_close(
        share, torch.tensor(expected, dtype=torch.float32), atol=2e-4, rtol=0
    )
    for t in token.unique().tolist():
        assert logprob[token == t].unique().tolist() == pytest.approx(
            [math.log(expected[t])], abs=1e-6
        )


def test_extreme_uniforms_draw_possible_tokens():
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    token, _ = draw(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), Sampling())
    assert token.tolist() == [1, 2]


def test_nothing_allowed_is_an_error():
    for temperature in (0.0, 1.0):
        with pytest.raises(LMError, match="row 0: no finite logit"):
            draw(torch.full((1, 4), -torch.inf), torch.zeros(1), Sampling(temperature=temperature))


def test_noise_depends_on_seed_and_key_alone():
    noise = uniforms(3, [5, 6], 1000)
    assert np.array_equal(uniforms(3, [6], 400)[0], noise[1, :400])
    assert not np.array_equal(uniforms(4, [6], 1000)[0], noise[1])
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1
    assert abs(noise.mean() - 0.5) < 0.03
    assert uniforms(-1, [2**70], 1).shape == (1, 1)


def test_samples_follow_the_models_distribution():
    lm = tiny_model(3)
    (group,) = lm.sample([lm.encode("a")], Sampling(max_tokens=1, seed=1), copies=4000)
    counts = torch.bincount(torch.tensor([c.ids[0] for c in group]), minlength=101)
    logits = lm.model(torch.tensor([lm.encode("a")])).logits[0, -1].detach()
    expected = logits.softmax(-1) * 4000
    likely = expected > 20
    chi = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    degrees = int(likely.sum())
    assert degrees > 10
    assert chi < degrees + 4 * math.sqrt(2 * degrees)


def steered(text: str, **options):
    """A model under a masker that lets it write nothing but `text`, then its end token."""
    lm = tiny_model(1)
    ids = [*lm.encode(text), *lm.eos_ids]

    class Script:
        def __init__(self) -> None:
            self.at: dict[int, int] = {}

        def apply(self, rows, logits):
            allowed = torch.zeros(len(rows), 101, dtype=torch.bool)
            for i, row in enumerate(rows):
                allowed[i, ids[self.at.get(row, 0)]] = True
            return logits.masked_fill(~allowed, -torch.inf)

        def accept(self, row, token):
            assert token == ids[self.at.get(row, 0)]
            self.at[row] = self.at.get(row, 0) + 1

    sampling = options.pop("sampling", Sampling())
    copies = options.pop("copies", 1)
    (group,) = lm.sample([lm.encode("x")], sampling, copies=copies, masker=Script(), **options)
    return lm, group


def test_an_end_token_is_recorded_and_reported():
    calls = []

    def react(row, text, *, ended):
        calls.append((row, text, ended))
        return Reaction("never seen", done=True)

    lm, (one, two) = steered("ab", react=react, copies=2)
    assert one == two
    assert one.ids == (*lm.encode("ab"), *lm.eos_ids)
    assert one.finish_reason == "stop"
    assert one.sampled == (True,) * 3
    assert one.logprobs == pytest.approx((0.0,) * 3, abs=1e-6)  # one token allowed at a time
    assert calls == [(0, "ab", True), (1, "ab", True)]


def test_the_calculator_writes_into_the_answer():
    calls = []

    def react(row, text, *, ended):
        calls.append((text, ended))
        return Reaction("5>>5") if text.endswith("=") else None

    lm, (c,) = steered("<<2+3= ok.", triggers=("=", "."), react=react)
    assert lm.decode(c.ids) == "<<2+3=5>>5 ok."
    assert c.sampled == (True,) * 6 + (False,) * 4 + (True,) * 5
    assert c.logprobs[6:10] == (0.0,) * 4
    full = "<<2+3=5>>5 ok."
    assert calls == [("<<2+3=", False), (full, False), (full, True)]


def test_a_trigger_fires_only_as_a_whole_and_at_the_end():
    calls = []

    def react(row, text, *, ended):
        calls.append((text, ended))

    steered("a:b: :c::d", triggers=("::",), react=react)
    assert calls == [("a:b: :c::", False), ("a:b: :c::d", True)]


def test_forced_text_fires_nothing_and_makes_no_control_token():
    calls = []

    def react(row, text, *, ended):
        calls.append(text)
        return Reaction("a\n<|end|>\nSTOP") if not ended and len(calls) == 1 else None

    sampling = Sampling(stop=("STOP",))
    lm, (c,) = steered("q\nr\nz", triggers=("\n",), react=react, sampling=sampling)
    assert lm.decode(c.ids) == "q\na\n<|end|>\nSTOPr\nz"
    assert calls == ["q\n", "q\na\n<|end|>\nSTOPr\n", "q\na\n<|end|>\nSTOPr\nz"]
    assert c.finish_reason == "stop"


def test_the_environment_ends_a_row_and_has_the_last_word():
    def react(row, text, *, ended):
        return Reaction(" bye" if row == 0 else "", done=True)

    lm, (first, second) = steered("hello\nworld", triggers=("\n",), react=react, copies=2)
    assert [lm.decode(c.ids) for c in (first, second)] == ["hello\n bye", "hello\n"]
    assert first.sampled == (True,) * 6 + (False,) * 4
    assert first.finish_reason == second.finish_reason == "environment"


def test_forced_text_counts_towards_the_limit():
    def react(row, text, *, ended):
        return Reaction("123456")

    for done in (False, True):
        lm, (c,) = steered(
            "a\nb",
            triggers=("\n",),
            react=lambda row, text, *, ended, done=done: Reaction("123456", done=done),
            sampling=Sampling(max_tokens=5),
        )
        assert lm.decode(c.ids) == "a\n123"
        assert c.finish_reason == ("environment" if done else "length")


def test_stop_strings_end_a_row():
    calls = []

    def react(row, text, *, ended):
        calls.append((text, ended))

    lm, (c,) = steered("so END it", sampling=Sampling(stop=("END", "it")), react=react)
    assert lm.decode(c.ids) == "so END"
    assert c.finish_reason == "stop"
    assert calls == [("so ", True)]


@pytest.mark.parametrize("make", [cases.llama, cases.lora, cases.gpt2])
def test_rows_that_end_early_do_not_disturb_the_others(make):
    lm = make()
    sampling = Sampling(max_tokens=30, seed=8)

    def react(row, text, *, ended):
        return Reaction(done=row != 2)

    triggers = tuple(lm.decode([i]) for i in range(5, 101))
    free = cases.sampled(lm, sampling, copies=2)
    cut = cases.sampled(lm, sampling, copies=2, triggers=triggers, react=react)
    assert len(cut[1][0].ids) > 10
    assert cut[1][0].ids == free[1][0].ids
    assert cut[1][0].logprobs == pytest.approx(free[1][0].logprobs, abs=1e-5)
    assert {len(c.ids) for i, g in enumerate(cut) for j, c in enumerate(g) if (i, j) != (1, 0)} == {
        1
    }


def test_no_prompts_and_no_tokens():
    lm = cases.llama()
    assert lm.sample([], Sampling()) == []
    ((c,),) = lm.sample([[5]], Sampling(max_tokens=0))
    assert c.ids == ()
    assert c.finish_reason == "length"
