"""A study is read from TOML, and every mistake in one is a line that names place and remedy."""

from pathlib import Path

import pytest

from understudy.envs.study.declare import StudyError
from understudy.envs.study.load import SHIPPED, load

STEPS = Path(__file__).with_name("steps.toml")


def test_the_shipped_study():
    study = load("low-mood")
    assert [a.name for a in study.actions] == ["none", "encouraging", "informing", "affirming"]
    assert study.steps == 90
    ratings = study.report("ratings")
    assert (ratings.low, ratings.high, ratings.per_day) == (1, 7, 7)
    assert study.range_of("sdRating") == (0.0, 3.0)  # four 1s and four 7s have sd 3
    assert study.range_of("numberMessageRead") == (0.0, 3.0)
    assert study.reward_range() == (0.0, 4.0)
    assert len(study.features()) == 1 + 3 + 11 + 4 + 2 + 4
    assert study.drop_out is not None


def test_another_study_is_another_file():
    study = load(STEPS)
    assert study.parts == ("noon", "night")
    assert study.range_of("stepsToday") == (0.0, 30000.0)
    assert study.range_of("meanEffort") == (-1.0, 1.0)
    assert study.whole("stepsToday")
    assert not study.whole("meanEffort")
    assert study.drop_out is None
    assert [name for name, _, _ in study.features()][-6:] == [
        "action-1=quiet", "action-1=goal", "action-1=praise",
        "action-2=quiet", "action-2=goal", "action-2=praise",
    ]  # fmt: skip


MISTAKES = {
    "days = 30": ("dayz = 30", "dayz is unknown; did you mean 'days'?"),
    'rule = "median"': ('rule = "medain"', "derived.medianRating.rule is 'medain'; did you mean"),
    'value = "numberRating"': ('value = "nuberRating"', "did you mean 'numberRating'?"),
    "per_day = 7": ("per_day = 7.5", "reported.ratings.per_day must be a whole number, not 7.5"),
    "high = 7": ("high = 0", "reported.ratings.high is 0; it must be above low"),
    'budget = "numberMessageReceived"': (
        'budget = "numberRating"',
        "it must be one of numberMessageReceived",
    ),
    'name = "informing"': ('name = "none"', "actions name 'none' twice"),
    "message = false": ("", "actions[0].message is missing; it must be true or false"),
    "from = 3": ("from = 6", "to is 5; it must be at least from, which is 6"),
    "last_actions = 1": ("last_actions = -1", "state.last_actions must be from 0 to 1000"),
    'reward = "reward"': ('reward = "action"', "columns name 'action' twice"),
    'parts = ["morning", "afternoon", "evening"]': ("parts = []", "at least one part"),
    "weight = 0.5": ("weight = inf", "reward[0].weight must be finite"),
    "[drop_out]": ("[drop_out", "not TOML"),
}


@pytest.mark.parametrize("right", MISTAKES)
def test_a_mistake_is_one_line(right: str, tmp_path: Path):
    wrong, said = MISTAKES[right]
    text = SHIPPED["low-mood"].read_text(encoding="utf-8")
    assert right in text
    file = tmp_path / "study.toml"
    file.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(StudyError) as error:
        load(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_such_study():
    with pytest.raises(StudyError, match="did you mean 'low-mood'"):
        load("low-mod")
