"""Supervised examples: the tokens of sampling, and weights where the model itself would write."""

from collections import Counter

import numpy as np
import pytest

from tests.rollout.scripted import ScriptedTokens
from understudy.envs.gsm8k import grade_number
from understudy.envs.text_env import TextEnv
from understudy.envs.word_problems import WordProblems
from understudy.lm.base import Sampling
from understudy.lm.build import build_tokenizer
from understudy.lm.codec import TokenizerCodec
from understudy.rollout.collect import collect
from understudy.rollout.corpus import Corpus, encode_example
from understudy.rollout.prompting import Prompt
from understudy.types import Message

ANSWER = "Ben has <<12*3=36>>36 cards.\n<<36-6=30>>\n#### 30"
ASK = (Message("user", "How many?"),)


def codec() -> TokenizerCodec:
    """A byte-level tokenizer whose merges cross the calculator's brackets where they can."""
    tokenizer = build_tokenizer([ANSWER + " 36>>36 30>>\n"] * 9, 300)
    return TokenizerCodec(tokenizer, frozenset([tokenizer.eos_token_id]))


def test_only_what_the_model_writes_is_learnt() -> None:
    texts = codec()
    example = encode_example(texts, ASK, ANSWER)
    assert len(example.ids) == len(example.weights)
    prompt = texts.prompt_ids(ASK)
    assert list(example.ids[: len(prompt)]) == prompt
    assert set(example.weights[: len(prompt)]) == {0.0}
    body = list(zip(example.ids, example.weights, strict=True))[len(prompt) :]
    assert texts.decode([i for i, _ in body]) == ANSWER
    assert texts.decode([i for i, w in body if w == 0]) == "36>>30>>"
    assert {w for _, w in body} == {0.0, 1.0}
    assert body[-1] == (min(texts.eos_ids), 1.0)


@pytest.mark.parametrize(
    "answer", ["", "#### 3", "<<1+2=3", "<<=>>", "a <<b\n=c>> d", "<<1=1>><<2=2>>"]
)
def test_any_text_survives(answer: str) -> None:
    texts = codec()
    example = encode_example(texts, ASK, answer)
    start = len(texts.prompt_ids(ASK))
    assert texts.decode(example.ids[start:]) == answer
    assert example.weights[-1] == 1.0


def test_the_tokens_are_those_of_sampling() -> None:
    """Playing a demonstration with the calculator on gives the example's tokens and its mask."""
    task = WordProblems(calculator_share=1.0)
    rng = np.random.default_rng(0)
    for index in range(5):
        problem = task.problem(index)
        answer = task.demonstration(problem, rng)
        # The model writes all but the results, which the environment adds.
        script = ScriptedTokens(lambda *_: "")
        example = encode_example(script, (Message("user", problem.question),), answer)
        start = len(script.prompt_ids((Message("user", problem.question),)))
        learnt = [i for i, w in zip(example.ids, example.weights, strict=True) if w][:-1]
        written = script.decode(learnt)
        lm = ScriptedTokens(lambda *_, written=written: written)
        [[episode]] = collect(
            lm, [TextEnv(task)], [index], prompt=Prompt(), sampling=Sampling(max_tokens=999)
        )
        assert episode.info["text"] == answer
        assert episode.tokens is not None
        assert episode.tokens.ids == example.ids[start:]
        assert tuple(map(float, episode.tokens.sampled)) == example.weights[start:]


def test_an_example_depends_on_its_number_and_the_seed_alone() -> None:
    texts, task = codec(), WordProblems()
    one, two, other = (Corpus([task], [1.0], seed=s) for s in (0, 0, 1))
    late = one.example(7, texts)
    assert two.example(7, texts) == late
    assert other.example(7, texts) != late
    assert one.example(8, texts) != late


def test_shares_of_a_mixture() -> None:
    short, long = WordProblems(levels=(1, 1)), WordProblems(levels=(3, 3))
    corpus = Corpus([short, long], [3.0, 1.0])
    drawn = [corpus.text(i) for i in range(400)]
    counts = Counter(problem.level for problem, _ in drawn)
    assert counts.keys() == {1, 3}
    assert 270 < counts[1] < 330
    assert all(grade_number(p, answer).correct is not False for p, answer in drawn)


def test_a_task_that_cannot_demonstrate() -> None:
    class Mute:
        name, split = "mute", "train"

    with pytest.raises(TypeError, match="task 'mute' has no demonstration method"):
        Corpus([Mute()], [1.0]).text(0)  # pyright: ignore[reportArgumentType]
