import math
from collections import Counter

import pytest

from understudy.lm.base import LMError, Regex, Request, Rule, Sampling, Steer
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.fake import tiny_model
from understudy.lm.ledger import Ledger
from understudy.lm.open import can_steer
from understudy.lm.replay import CachedChoiceLM, ReplayLM
from understudy.lm.structured import refuse_steer
from understudy.types import Message

FORM = Regex("[1-3]x[ab]")
WEIGHTS = (("1", 2.0), ("2", -1.0), ("3", 0.0))
STEER = Steer((Rule("", WEIGHTS), Rule("1x", (("a", 30.0), ("b", 0.0)))))


def ask(index=0, steer: Steer | None = STEER, schema: Regex | None = FORM, **sampling):
    return Request(
        (Message("user", "Well?"),), Sampling(max_tokens=8, **sampling), schema, index, steer=steer
    )


@pytest.fixture(scope="module")
def chat():
    return LocalChat(tiny_model(), "tiny")


def test_answers_are_drawn_from_the_tilted_distribution(chat):
    count = 2000
    replies = chat.chat([ask(i) for i in range(count)])
    own = dict(replies[0].steered[0])
    assert sum(map(math.exp, own.values())) == pytest.approx(1)
    tilted = {piece: math.exp(own[piece] + weight) for piece, weight in WEIGHTS}
    met = Counter(reply.text[0] for reply in replies)
    for piece, mass in tilted.items():
        share = mass / sum(tilted.values())
        error = math.sqrt(share * (1 - share) / count)
        assert met[piece] / count == pytest.approx(share, abs=4 * error)


def test_only_the_rule_that_matches_has_a_say(chat):
    replies = chat.chat([ask(i) for i in range(300)])
    lasts = {first: {r.text[-1] for r in replies if r.text[0] == first} for first in "123"}
    assert lasts["1"] == {"a"}
    assert lasts["3"] == {"a", "b"}
    assert {len(r.steered) for r in replies if r.text[0] == "1"} == {2}
    assert {len(r.steered) for r in replies if r.text[0] == "3"} == {1}


def test_weights_of_zero_change_nothing(chat):
    still = Steer((Rule("", (("1", 0.0), ("2", 0.0), ("3", 0.0))),))
    steered, free = (
        chat.chat([ask(i, still) for i in range(50)]),
        chat.chat([ask(i, None) for i in range(50)]),
    )
    assert [r.text for r in steered] == [r.text for r in free]
    assert all(not r.steered for r in free)


@pytest.mark.parametrize("mean", [1.2, 2.0, 2.9])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_mean_is_met_by_the_nearest_distribution(chat, mean, temperature):
    count, steer = 2000, Steer((Rule("", WEIGHTS, mean),))
    replies = chat.chat([ask(i, steer, temperature=temperature) for i in range(count)])
    own = dict(replies[0].steered[0])
    met = [int(reply.text[0]) for reply in replies]
    assert sum(met) / count == pytest.approx(mean, abs=4 * 0.85 / math.sqrt(count))
    # An exponential family in the number: log-odds over equal steps differ by the model's and the
    # weights' own alone, whatever λ is. Of three pieces that and the mean give all frequencies.
    bend = sum(sign * (own[p] + w) for (p, w), sign in zip(WEIGHTS, (1, 0, 1), strict=True))
    bend -= 2 * (own["2"] + WEIGHTS[1][1])
    p = nearest(bend, mean)
    for piece, share in zip((1, 2, 3), p, strict=True):
        assert met.count(piece) / count == pytest.approx(share, abs=0.045)


def nearest(bend, mean):
    """Of [1, 2, 3] with log p1 + log p3 - 2 log p2 = bend, by trying slopes."""
    best = None
    for step in range(-4000, 4001):
        weights = [math.exp(k * step / 200 + bend * (k != 1) / 2) for k in (0, 1, 2)]
        p = [w / sum(weights) for w in weights]
        off = abs(sum(k * x for k, x in zip((1, 2, 3), p, strict=True)) - mean)
        if best is None or off < best[0]:
            best = off, p
    return best[1]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_flattens_the_model_not_the_weights(chat, temperature):
    cold, own = (dict(chat.chat([ask(temperature=t)])[0].steered[0]) for t in (1.0, temperature))
    for piece in own:
        off = own[piece] - own["1"] - (cold[piece] - cold["1"]) / temperature
        assert off == pytest.approx(0, abs=1e-4)
    count = 2000
    replies = chat.chat([ask(i, temperature=temperature) for i in range(count)])
    tilted = {p: math.exp(own[p] + w) for p, w in WEIGHTS}
    share = tilted["1"] / sum(tilted.values())
    found = sum(r.text[0] == "1" for r in replies) / count
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count))


def test_what_cannot_be_steered_says_so(chat):
    with pytest.raises(LMError, match="not one"):
        chat.chat([ask(steer=Steer((Rule("", (("12", 1.0),)),)))])
    with pytest.raises(LMError, match="with a schema"):
        chat.chat([ask(schema=None)])
    with pytest.raises(LMError, match="server: only a model in this process"):
        refuse_steer("server", [ask(steer=None), ask()])


def test_a_recording_holds_what_was_steered(chat, tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    lm = CachedChoiceLM(chat, cache, Ledger(cache))
    (first,), (again,), (free,) = lm.chat([ask()]), lm.chat([ask()]), lm.chat([ask(steer=None)])
    other = Steer((Rule("", (("1", 9.0),)),))
    (elsewhere,) = lm.chat([ask(steer=other)])
    assert (again.text, again.steered) == (first.text, first.steered)
    assert again.usage.cached_calls == 1
    assert elsewhere.usage.calls == free.usage.calls == 1
    cache.close()
    replay = ReplayLM(tmp_path / "cache.sqlite")
    assert can_steer(replay)
    assert replay.chat([ask()])[0].steered == first.steered
    replay.close()
