import numpy as np
import pytest

from understudy.envs.study.course import Course
from understudy.envs.study.diary import Diary, Entry
from understudy.envs.study.lines import Lines, Room
from understudy.envs.study.load import load
from understudy.envs.study.persona import observed, recruit, traits, typical
from understudy.envs.study.play import play
from understudy.envs.study.policies import uniform
from understudy.envs.study.table import rules
from understudy.envs.study.truth import parameters
from understudy.lm.base import Reply, Unparsed
from understudy.lm.cache import Cache
from understudy.lm.chat import LocalChat
from understudy.lm.fake import tiny_model
from understudy.lm.ledger import Ledger
from understudy.lm.replay import CachedLM
from understudy.roles.simulator.cohorts import generate_truth, profile
from understudy.roles.simulator.matching import Matching
from understudy.roles.simulator.people import LanguagePeople
from understudy.roles.simulator.prompt import Short, Worded


@pytest.fixture(scope="module")
def study():
    return load("low-mood")


@pytest.fixture(scope="module")
def told(study):
    return profile(generate_truth(study, parameters("responsive"), 40, uniform(study), 3), study)


@pytest.fixture(scope="module")
def lm():
    return LocalChat(tiny_model(context=4096), "tiny")


def people_of(study, told, lm, prompts, n=4, seed=5, **options):
    return LanguagePeople(study, lm, prompts, told, n, np.random.default_rng(seed), seed, **options)


def cohort_of(study, people, seed=6):
    return play(study, people, uniform(study), people.n, np.random.default_rng(seed))


@pytest.mark.parametrize("form", ["short", "words"])
def test_random_weights_give_only_possible_answers(study, told, lm, form):
    prompts = Short(study, told) if form == "short" else Worded(study, told)
    people = people_of(study, told, lm, prompts)
    made = cohort_of(study, people)
    assert people.tally.unusable == 0
    assert people.tally.asked == made.rows
    for rule, kept in rules(study, made).items():
        assert kept.all(), rule


def test_a_cohort_is_the_same_again_and_nothing_is_asked_twice(study, told, lm, tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    asked = Script(lambda request: lm.chat([request])[0])
    recorded = CachedLM(asked, cache, Ledger(cache))
    first = cohort_of(study, people_of(study, told, recorded, Short(study, told)))
    again = cohort_of(study, people_of(study, told, recorded, Short(study, told)))
    assert len(asked.requests) == first.rows
    for name, column in first.columns.items():
        np.testing.assert_array_equal(again[name], column)
    cache.close()


def test_weights_move_a_cohort_to_the_aggregates(study, told, lm):
    matching = Matching(study, told)
    prompts = Short(study, told, matching)
    rates = []
    for round_ in range(2):
        heard = []
        people = people_of(study, told, lm, prompts, 16, 50 + round_, heard=heard)
        made = cohort_of(study, people)
        rates.append(made.lengths.mean())
        matching.learn(heard)
    final = cohort_of(study, people_of(study, told, lm, prompts, 16, 99))
    # A random model lets half of its people leave every evening; in the aggregates few ever do.
    assert rates[0] < 12
    assert final.lengths.mean() > 40
    after, before = observed(study, final)[0], typical(study, told)
    np.testing.assert_allclose(after.everybody[:2], before.everybody[:2], rtol=0.25)


class Script:
    """Answers as it is told."""

    name = "script"

    def __init__(self, answer):
        self.answer, self.requests = answer, []

    def chat(self, requests):
        self.requests += requests
        return [self.answer(request) for request in requests]


def test_an_unusable_answer_is_a_moment_without_a_report(study, told):
    lm = Script(lambda _: Reply("gibberish", Unparsed("gibberish", "not the form")))
    people = people_of(study, told, lm, Short(study, told), 2)
    made = cohort_of(study, people)
    assert people.tally.unusable == people.tally.asked == 2 * study.steps
    assert people.tally.first_unusable == "not the form"
    assert made["numberRating"].max() == 0
    assert made["numberMessageRead"].max() == 0


def test_who_has_left_is_not_asked_again(study, told):
    def leaves(request):
        evening = "leave 0 or 1" in request.messages[-1].content
        answer = "0: 0" + (" 1" if evening else "")
        return Reply(answer, answer)

    lm = Script(leaves)
    made = cohort_of(study, people_of(study, told, lm, Short(study, told), 3))
    assert made.lengths.tolist() == [3, 3, 3]
    assert len(lm.requests) == 9


def test_newcomers_are_others(study, told):
    lm = Script(lambda _: Reply("0: 0", "0: 0"))
    people = people_of(study, told, lm, Short(study, told), 3)
    course = Course(study, 3)
    people.respond(course, np.zeros(3, dtype=np.int64))
    before, seen = people.personas.copy(), len(lm.requests)
    rows = np.array([False, True, False])
    people.replace(rows)
    assert (people.personas[1] != before[1]).any()
    np.testing.assert_array_equal(people.personas[~rows], before[~rows])
    assert people.diary.people[1] == []
    people.respond(Course(study, 3), np.zeros(3, dtype=np.int64))
    indices = [request.sample_index for request in lm.requests]
    assert len({*indices[:seen], indices[seen + 1]}) == seen + 1


def test_words_tell_the_action_before_the_answer_and_only_what_is_possible(study, told):
    people = people_of(study, told, Script(None), Worded(study, told), 1)
    course = Course(study, 1)
    lm = Script(lambda r: Reply("", r.schema(ratings=[5, 6], read=1)))
    people.lm = lm
    affirming = [a.name for a in study.actions].index("affirming")
    reports, _ = people.respond(course, np.array([affirming]))
    told_now = lm.requests[0].messages[-1].content
    assert study.actions[affirming].words in told_now
    assert "at most 7 ratings" in told_now
    assert reports["ratings"][0, :3].tolist()[:2] == [5, 6]
    assert np.isnan(reports["ratings"][0, 2])
    with pytest.raises(ValueError, match="read"):
        lm.requests[0].schema(ratings=[], read=2)
    with pytest.raises(ValueError, match="ratings"):
        lm.requests[0].schema(ratings=[8], read=0)


def test_nobody_is_told_of_in_person(study, told):
    """The layers hold aggregates; a person's own numbers are in no request about another."""
    layers = Worded(study, told).layers
    assert "truth-" not in layers
    people = people_of(study, told, Script(None), Worded(study, told), 2)
    lm = Script(lambda r: Reply("", r.schema(ratings=[1], read=0)))
    people.lm = lm
    people.respond(Course(study, 2), np.zeros(2, dtype=np.int64))
    assert lm.requests[0].messages[0] == lm.requests[1].messages[0]


def test_lines_are_read_as_they_are_written(study):
    lines = Lines(study)
    room = Room({"ratings": (1, 7, 3), "read": (0, 2, 1)}, may_leave=True)
    for ratings in [(), (4.0,), (1.0, 7.0, 7.0)]:
        for read in (0.0, 2.0):
            for leaves in (False, True):
                said = {"ratings": ratings, "read": (read,)}
                text = lines.write(said, leaves=leaves)
                assert lines.read(text, room) == (said, leaves)
    for wrong in ("4:1111 0 0", "1:8 0 0", "1:4 3 0", "1:4 0", "2:4 0 0", "", "1:4 0 0 0"):
        with pytest.raises(Exception, match="no answer of the form"):
            lines.read(wrong, room)


def test_a_question_tells_the_persons_own_past_and_no_future(study, told):
    lines = Lines(study)
    past = [
        Entry(day, part, 0, {"ratings": (float(day + 1),), "read": (0.0,)})
        for day in range(6)
        for part in range(3)
    ]
    room = Room({"ratings": (1, 7, 7), "read": (0, 0, 1)}, may_leave=False)
    text = lines.question(np.array([1.0, 4.0, 0.5]), typical(study, told), past, 5, 1, 2, room=room)
    assert text.splitlines()[3:7] == [
        "1:3 0 n|1:3 0 n|1:3 0 n",
        "1:4 0 n|1:4 0 n|1:4 0 n",
        "1:5 0 n|1:5 0 n|1:5 0 n",
        "today 1:6 0 n|1:6 0 n|1:6 0 n",
    ]


def test_recruits_differ_as_people_do(study, told):
    drawn = recruit(study, told, 4000, np.random.default_rng(0))
    assert drawn.shape == (4000, len(traits(study)))
    for k, trait in enumerate(traits(study)):
        counts = told.measures[trait.measure]
        grid = np.linspace(counts.levels[0], counts.levels[-1], len(counts.means))
        mean = counts.means @ grid / counts.means.sum()
        spread = np.sqrt(counts.means @ (grid - mean) ** 2 / counts.means.sum())
        assert drawn[:, k].mean() == pytest.approx(mean, abs=0.05)
        assert drawn[:, k].std() == pytest.approx(spread, rel=0.15)


def test_a_diary_keeps_what_was_reported(study):
    diary = Diary(study, 2)
    reports = {"ratings": np.array([[3.0, np.nan], [np.nan, np.nan]]), "read": np.array([1.0, 0.0])}
    zeros = np.zeros(2, dtype=np.int64)
    diary.add(zeros, zeros, zeros, reports, np.array([True, False]))
    assert diary.people[0][0].reports == {"ratings": (3.0,), "read": (1.0,)}
    assert diary.people[1] == []
