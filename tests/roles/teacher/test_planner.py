"""Who is asked: models that score, models that write, recordings; and what nonsense comes to."""

import json
import math

import pytest

from tests.rollout.scripted import ScriptedChat
from understudy.envs.grid.plans import candidates, write
from understudy.envs.grid.scene import Words
from understudy.envs.mpe.vector import make_task
from understudy.envs.mpe.words import goals
from understudy.lm.base import Reply
from understudy.lm.structured import parse
from understudy.roles.teacher.book import Book
from understudy.roles.teacher.planner import BookPlanner, ExpertPlanner, LanguageModel
from understudy.roles.teacher.questions import for_goal, for_plan, goal_text
from understudy.run.errors import RunError

MISSION = "get a key and unlock a door"
SCENES = [
    Words("Remembered: key.", ("key",)),
    Words("Remembered: locked door.", ("locked door",), "key"),
    Words("Remembered: nothing.", ()),
]
QUESTIONS = [for_plan(MISSION, words) for words in SCENES]


class Scorer(ScriptedChat):
    """A ChoiceLM: `scores` are logits by option."""

    def __init__(self, scores):
        super().__init__(lambda _: pytest.fail("it is scored, not asked"))
        self.scores, self.asked = scores, []

    def score_choices(self, request, options):
        self.asked.append(request)
        logits = [self.scores.get(option, 0.0) for option in options]
        total = math.log(sum(map(math.exp, logits)))
        return [x - total for x in logits]


def writing(answer):
    """A ChatLM that writes `answer(request)`, read as every model's answer is."""

    def reply(request):
        text = answer(request)
        return Reply(text, parse(text, request.schema))

    return ScriptedChat(reply)


def ask(lm, *, samples=1, temperature=0.0, instructions=False):
    return LanguageModel(lm, samples=samples, temperature=temperature, instructions=instructions)


def steps(*pairs):
    return json.dumps({"steps": [{"verb": verb, "object": name} for verb, name in pairs]})


def test_a_scored_answer_has_the_models_probabilities():
    lm = Scorer({"pick up key": 3.0, "go to key": 1.0, "wait": -9.0})
    (row,) = ask(lm)([QUESTIONS[0]])
    options = [write(plan) for plan in candidates(("key",))]
    total = sum(math.exp(lm.scores.get(o, 0.0)) for o in options if o != "wait")
    assert dict(row.answers) == pytest.approx(
        {o: math.exp(lm.scores.get(o, 0.0)) / total for o in options if o != "wait"}
    )
    assert sum(p for _, p in row.answers) == pytest.approx(1.0, abs=1e-12)
    assert not row.fallback
    assert "wait" in options
    assert "wait" not in dict(row.answers)  # less likely than a hundredth


def test_instructions_go_to_models_that_need_them():
    for wanted in (False, True):
        lm = Scorer({})
        ask(lm, instructions=wanted)([QUESTIONS[0]])
        (message,) = lm.asked[0].messages
        assert ("You guide a robot" in message.content) is wanted
        assert message.content.endswith("Remembered: key.\nPlan:")
    keys = [ask(Scorer({}), instructions=wanted).key("rules") for wanted in (False, True)]
    assert keys[0] != keys[1]
    assert keys[1] != ask(Scorer({}), instructions=True).key("other rules")
    assert ask(writing(str), samples=4, temperature=0.5).key("")["answers"] == "4 at 0.5"


def test_written_answers_are_counted():
    said = iter([
        steps(("pick up", "key")), steps(("pick up", "key"), ("explore", "none")), "garbage",
        steps(("pick up", "key")), steps(("go to", "dragon")),
    ])  # fmt: skip
    lm = writing(lambda _: next(said))
    (row,) = ask(lm, samples=5, temperature=1.0)([QUESTIONS[0]])
    shares = {"pick up key": 2 / 3, "pick up key, explore": 1 / 3}
    assert dict(row.answers) == pytest.approx(shares)
    assert not row.fallback
    assert [r.sample_index for r in lm.batches[0]] == list(range(5))
    assert {r.sampling.seed for r in lm.batches[0]} == set(range(5))


def test_all_questions_are_asked_in_one_batch():
    lm = writing(lambda _: steps(("explore", "none")))
    rows = ask(lm, samples=2, temperature=1.0)(QUESTIONS)
    assert len(lm.batches) == 1
    assert [row.text for row in rows] == [q.text for q in QUESTIONS]
    assert [dict(row.answers) for row in rows] == [{"explore": 1.0}] * 3


HOSTILE = {
    "garbage": "I would pick up the key, I think.",
    "nothing": "",
    "an unknown object": steps(("go to", "dragon")),
    "an unknown verb": steps(("eat", "key")),
    "a thing for nothing": steps(("open", "none")),
    "no steps": '{"steps": []}',
    "too many steps": steps(*[("explore", "none")] * 5),
    "ten megabytes": "explore, " * 1_200_000,
    "ten megabytes of JSON": '{"steps": [' + '{"verb": "wait", "object": "none"},' * 300_000 + "]}",
    "a deep nest": "[" * 200_000,
    "another shape": '{"steps": {"verb": "explore"}}',
    "numbers": '{"steps": [1, 2]}',
    "null": "null",
    "a key too many": '{"steps": [{"verb": "wait", "object": "none", "__class__": "os"}], "x": 1}',
    "code": "__import__('os').abort()",
    "NaN": '{"steps": NaN}',
    "a surrogate": '{"steps": "\\ud800"}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_usable_answer_is_said_and_counted(text, tmp_path):
    book = Book.open(tmp_path / "b", {"model": "m"})
    planner = BookPlanner(book, ask(writing(lambda _: text)))
    answers = planner.answers(QUESTIONS)
    if text == HOSTILE["a key too many"]:
        assert answers[0] in ((("wait", 1.0),), (("explore", 1.0),))
        return
    assert answers == [(("explore", 1.0),)] * 3
    assert all(planner.fell_back(q.text) for q in QUESTIONS)
    assert all(len(row.raw) <= 500 for row in book.rows.values())
    assert (tmp_path / "b").stat().st_size < 10_000
    assert Book.open(tmp_path / "b").rows == book.rows


def test_a_model_without_probabilities_at_all_falls_back():
    lm = Scorer({})
    lm.score_choices = lambda _, options: [float("nan")] * len(options)
    (row,) = ask(lm)([QUESTIONS[0]])
    assert row.answers == (("explore", 1.0),)
    assert row.fallback


def test_each_distinct_text_is_asked_once_ever(tmp_path):
    lm = writing(lambda _: steps(("explore", "none")))
    planner = BookPlanner(Book.open(tmp_path / "b", {"model": "m"}), ask(lm))
    planner.answers([QUESTIONS[0], QUESTIONS[1], QUESTIONS[0]])
    planner.answers(QUESTIONS)
    assert [len(batch) for batch in lm.batches] == [2, 1]
    again = BookPlanner(Book.open(tmp_path / "b", {"model": "m"}), ask(lm))
    again.answers(QUESTIONS)
    assert len(lm.batches) == 2


def test_a_runs_book_copies_from_the_shared_one(tmp_path):
    lm = writing(lambda _: steps(("wait", "none")))
    shared = lambda: BookPlanner(Book.open(tmp_path / "shared", {"model": "m"}), ask(lm))  # noqa: E731
    for name in ("one", "two"):
        planner = BookPlanner(Book.open(tmp_path / name, {"model": "m"}), shared().rows)
        assert planner.answers(QUESTIONS) == [(("wait", 1.0),)] * 3
    assert len(lm.batches) == 1
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_was_not_recorded_is_one_line(tmp_path):
    book = Book.open(tmp_path / "b", {"model": "m"})
    with pytest.raises(RunError, match=r"/b: no answer is recorded for: Remembered: key\.$"):
        BookPlanner(book).answers(QUESTIONS)


def test_the_expert_and_its_mistakes():
    (sure,) = ExpertPlanner().answers([QUESTIONS[0]])
    assert sure == (("pick up key", 1.0),)
    (noisy,) = ExpertPlanner(0.3).answers([QUESTIONS[0]])
    share = 0.3 / len(QUESTIONS[0].options)
    assert dict(noisy) == pytest.approx(
        {o: share + 0.7 * (o == "pick up key") for o in QUESTIONS[0].options}
    )


def test_goals_are_questions_too(tmp_path):
    task = make_task("simple_spread")
    text = goal_text(task, "agent_0", "You see it.", "agent_1 will stay.")
    assert "You see it. agent_1 will stay." in text
    question = for_goal(task, "agent_0", text, 1)
    known = goals(task, "agent_0")
    assert question.options == known
    assert question.expert() == known[1]
    for said, wanted in ((known[0], known[0]), ("go to the moon", known[-1])):
        lm = writing(lambda _, said=said: said)
        (row,) = ask(lm)([question])
        assert row.answers == ((wanted, 1.0),)
        assert row.fallback is (said not in known)
