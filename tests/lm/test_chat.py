import math

import pytest
import torch
from pydantic import BaseModel, Field

from understudy.lm.base import (
    ChatLM,
    ChoiceLM,
    Choices,
    LMError,
    Regex,
    Request,
    Sampling,
    Unparsed,
)
from understudy.lm.chat import LocalChat
from understudy.lm.fake import tiny_model
from understudy.types import Message

QUESTIONS = ("Hello?", "What is 2 + 3?", "Hm", "A rather longer question than the others.")


class Pair(BaseModel):
    left: int = Field(ge=0, le=9)
    right: str = Field(max_length=4)


def ask(text, *, schema=None, index=0, **sampling):
    return Request((Message("user", text),), Sampling(**sampling), schema, index)


@pytest.fixture(scope="module")
def chat():
    return LocalChat(tiny_model(), "tiny")


class Counting:
    """Delegates to a model and writes down the shape of each batch."""

    def __init__(self, lm):
        self._lm, self.batches = lm, []

    def __getattr__(self, name):
        return getattr(self._lm, name)

    def sample(self, prompts, sampling, *, copies=1, **options):
        self.batches.append((len(prompts), copies))
        return self._lm.sample(prompts, sampling, copies=copies, **options)


def test_it_meets_the_protocols(chat):
    assert isinstance(chat, ChatLM)
    assert isinstance(chat, ChoiceLM)
    assert chat.name == "tiny"


def test_a_reply_is_what_the_model_samples(chat):
    (reply,) = chat.chat([ask("Hello?", temperature=0.0, max_tokens=20)])
    prompt = chat.lm.prompt_ids((Message("user", "Hello?"),))
    ((completion,),) = chat.lm.sample([prompt], Sampling(temperature=0.0, max_tokens=20))
    assert reply.text == chat.lm.decode(completion.ids)
    assert reply.finish_reason == completion.finish_reason
    assert reply.usage.calls == 1
    assert reply.usage.prompt_tokens == len(prompt)
    assert reply.usage.completion_tokens == len(completion.ids)
    assert reply.usage.seconds > 0


def mixed():
    """Requests of every kind, shuffled together."""
    requests = []
    for index in range(3):
        for text in QUESTIONS:
            requests += [
                ask(text, index=index, max_tokens=12),
                ask(text, index=index, max_tokens=30, schema=Pair),
                ask(text, index=index, max_tokens=30, temperature=0.5, stop=("a", "e")),
                ask(text, index=index, max_tokens=9, schema=Regex("[ab]{2,6}")),
            ]
    requests.append(ask(QUESTIONS[0], index=3, max_tokens=12))
    return requests


@pytest.mark.parametrize("max_rows", [1, 5, 256])
def test_replies_are_the_same_in_any_batch_and_order(chat, max_rows):
    requests = mixed()
    alone = [chat.chat([request])[0] for request in requests]
    other = LocalChat(chat.lm, "tiny", max_rows=max_rows)
    together = other.chat(requests)
    backwards = other.chat(requests[::-1])[::-1]
    for replies in (together, backwards):
        assert [r.text for r in replies] == [r.text for r in alone]
        assert [r.value for r in replies] == [r.value for r in alone]
        assert [r.finish_reason for r in replies] == [r.finish_reason for r in alone]
    assert len({reply.text for reply in alone}) > len(alone) * 0.8


def test_equal_prompts_are_copies_and_batches_stay_within_max_rows():
    lm = Counting(tiny_model())
    chat = LocalChat(lm, "tiny", max_rows=6)
    requests = [ask(text, index=i, max_tokens=4) for text in ("a", "b", "c") for i in range(3)]
    requests += [ask("d", index=i, max_tokens=4) for i in range(7)]
    texts = [reply.text for reply in chat.chat(requests)]
    assert sorted(lm.batches) == [(1, 1), (1, 3), (1, 6), (2, 3)]
    assert len(set(texts[9:])) == 7


def test_the_seed_and_the_sample_index_decide(chat):
    def text(**options):
        return chat.chat([ask("Hello?", max_tokens=30, **options)])[0].text

    assert text(seed=1) == text(seed=1)
    assert len({text(seed=1), text(seed=2), text(seed=1, index=1)}) == 3


def test_equal_noise_does_not_tie_different_questions(chat):
    # two prompts with one seed must not use one stream of noise
    rows = [chat._row(i, ask(text)) for i, text in enumerate(QUESTIONS)]
    assert len({row.key for row in rows}) == len(QUESTIONS)


def test_a_stop_string_is_not_part_of_the_answer(chat):
    (whole,) = chat.chat([ask("Hello?", max_tokens=40, seed=2)])
    stop = whole.text[17:19]
    cut = whole.text.find(stop)
    (reply,) = chat.chat([ask("Hello?", max_tokens=40, seed=2, stop=(stop, "never this"))])
    assert reply.text == whole.text[:cut]
    assert reply.finish_reason == "stop"


def test_values_are_parsed(chat):
    asked = [
        ask(q, schema=s, max_tokens=60) for q in QUESTIONS for s in (Pair, Choices(("u", "v")))
    ]
    for request, reply in zip(asked, chat.chat(asked), strict=True):
        assert reply.finish_reason == "stop"
        if request.schema is Pair:
            assert reply.value == Pair.model_validate_json(reply.text)
        else:
            assert reply.value == reply.text
            assert reply.value in ("u", "v")


def test_a_small_max_tokens_still_gives_a_whole_form(chat):
    replies = chat.chat([ask("x", schema=Pair, index=i, max_tokens=1) for i in range(50)])
    assert all(isinstance(reply.value, Pair) for reply in replies)


def test_a_stop_string_does_not_cut_a_form(chat):
    asked = [ask("x", schema=Pair, index=i, stop=("l", '"')) for i in range(5)]
    assert all(isinstance(reply.value, Pair) for reply in chat.chat(asked))


def test_an_answer_that_cannot_fit_the_context_is_refused_before_anything_is_drawn():
    lm = Counting(tiny_model(context=40))
    chat = LocalChat(lm, "tiny")
    with pytest.raises(LMError, match="can have 31 tokens, but the model's context of 40 leaves 8"):
        chat.chat([ask("fine", max_tokens=2), ask("x" * 29, schema=Pair)])
    assert lm.batches == []


def test_a_pydantic_validator_the_grammar_cannot_know_gives_unparsed(chat):
    class Odd(BaseModel):
        n: int = Field(ge=0, le=99)

        def model_post_init(self, context):
            if self.n % 2 == 0:
                raise ValueError("even")

    values = [r.value for r in chat.chat([ask("x", schema=Odd, index=i) for i in range(40)])]
    assert {type(value) for value in values} == {Odd, Unparsed}


def brute_force(lm, question, options):
    """Scores from the model's own full forward, one option at a time."""
    prompt = lm.prompt_ids((Message("user", question),))
    totals = []
    for option in options:
        total = 0.0
        ids = [*prompt, *lm.encode(option)]
        logits = lm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for place in range(len(prompt), len(ids)):
            total += logits[place - 1, ids[place]].item()
        ends = math.fsum(math.exp(logits[-1, end].item()) for end in lm.eos_ids)
        totals.append(total + math.log(ends))
    return torch.tensor(totals).log_softmax(0).tolist()


@pytest.mark.parametrize("extra_end", [False, True])
@pytest.mark.parametrize("options", [("yes", "no", "yesterday", "yes, no"), ("a",), ("", "b")])
def test_choice_scores_are_those_of_the_full_forward(options, extra_end):
    lm = tiny_model(seed=4, **({"eos_token_id": [4, 20]} if extra_end else {}))
    assert len(lm.eos_ids) == 1 + extra_end
    scores = LocalChat(lm, "tiny").score_choices(ask("Well?"), options)
    assert scores == pytest.approx(brute_force(lm, "Well?", options), abs=1e-4)
    assert math.fsum(map(math.exp, scores)) == pytest.approx(1, abs=1e-9)


def test_choice_scores_are_the_frequencies_of_whole_answers():
    lm = tiny_model(seed=1, characters="ab", hidden=16)
    chat = LocalChat(lm, "tiny")
    options = ("", "a", "b", "aa")
    scores = chat.score_choices(ask("b"), options)
    prompt = lm.prompt_ids((Message("user", "b"),))
    (drawn,) = lm.sample([prompt], Sampling(max_tokens=4), copies=4000)
    counts = [sum(c.ids == (*lm.encode(option), *lm.eos_ids) for c in drawn) for option in options]
    assert sum(counts) > 400
    for score, count in zip(scores, counts, strict=True):
        share = math.exp(score)
        assert abs(count / sum(counts) - share) < 4 * math.sqrt(share * (1 - share) / sum(counts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no options"),
        (("a", "b", "a"), "option 'a' is given twice"),
        (("x" * 600,), "context is 512"),
    ],
)
def test_bad_options_are_one_clear_line(chat, options, message):
    with pytest.raises(LMError, match=message):
        chat.score_choices(ask("x"), options)


def test_no_request_no_reply(chat):
    assert chat.chat([]) == []


def test_max_rows_must_be_positive(chat):
    with pytest.raises(LMError, match="max_rows"):
        LocalChat(chat.lm, "tiny", max_rows=0)
