"""The environment around a task: episodes whole and by lines, seeds, errors, many at once."""

import pytest
from gymnasium.utils.env_checker import check_env

from tests.envs.cases import Sums
from understudy.envs.base import EnvError
from understudy.envs.text_env import TextEnv, TextVectorEnv


def begun(index: int = 4, **settings) -> TextEnv:
    env = TextEnv(Sums(), **settings)
    env.reset(options={"index": index})
    return env


@pytest.mark.parametrize("mode", ["whole", "stepwise"])
@pytest.mark.parametrize("calculator", [True, False])
def test_gymnasium_accepts_it(mode: str, calculator: bool) -> None:
    check_env(TextEnv(Sums(), mode=mode, calculator=calculator), skip_render_check=True)


def test_reset_tells_the_problem() -> None:
    observation, info = TextEnv(Sums()).reset(options={"index": 4})
    assert observation == "4 + 1?"
    assert info == {"problem_id": "sums/train/4", "question": "4 + 1?", "level": 1}


@pytest.mark.parametrize(
    ("action", "reward", "correct", "value"),
    [
        ("4+1=5\n#### 5", 1.0, True, "5"),
        ("#### 5 apples.\n", 1.0, True, "5"),
        ("#### 6", 0.0, False, "6"),
        ("5", -0.25, None, None),
        ("", -0.25, None, None),
    ],
)
def test_whole_answers_end_the_episode(action, reward, correct, value) -> None:
    observation, got, terminated, truncated, info = begun(unreadable=-0.25).step(action)
    assert (got, terminated, truncated) == (reward, True, False)
    assert (info["correct"], info["value"]) == (correct, value)
    assert observation == f"4 + 1?\n{action}"


def test_lines_grow_the_observation_verbatim_until_the_answer_is_marked() -> None:
    env = begun(mode="stepwise")
    observation, reward, terminated, truncated, info = env.step("  4 and\t1 \n")
    assert observation == "4 + 1?\n  4 and\t1 \n"
    assert (reward, terminated, truncated, info) == (0.0, False, False, {})
    observation, reward, terminated, truncated, info = env.step("#### 5\n")
    assert observation == "4 + 1?\n  4 and\t1 \n#### 5\n"
    assert (reward, terminated, truncated, info["correct"]) == (1.0, True, False, True)


def test_an_action_without_a_line_end_ends_the_episode() -> None:
    env = begun(mode="stepwise")
    env.step("4+1=5\n")
    _, reward, terminated, truncated, info = env.step("So it is 5.")
    assert (reward, terminated, truncated, info["correct"]) == (0.0, True, False, None)


def test_too_many_lines_truncate() -> None:
    env = begun(mode="stepwise", max_steps=3, unreadable=-1.0)
    ends = [env.step("hm\n")[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (-1.0, False, True)]


def test_an_answer_on_the_last_line_terminates_rather_than_truncates() -> None:
    env = begun(mode="stepwise", max_steps=1)
    assert env.step("#### 5\n")[1:4] == (1.0, True, False)


def test_every_step_costs_the_penalty() -> None:
    env = begun(mode="stepwise", step_penalty=0.125)
    assert env.step("4+1=5\n")[1] == -0.125
    assert env.step("#### 5\n")[1] == 0.875


def test_shaping_sees_problem_response_and_grade_and_is_added_once() -> None:
    seen = []

    def shape(problem, response, grade):
        seen.append((problem.id, response, grade.correct))
        return 0.5

    env = begun(mode="stepwise", shaping=shape)
    assert env.step("a\n")[1] == 0.0
    assert env.step("#### 5")[1] == 1.5
    assert seen == [("sums/train/4", "a\n#### 5", True)]


def test_a_seed_fixes_the_problems() -> None:
    def drawn(seed: int) -> list[str]:
        env = TextEnv(Sums())
        first = env.reset(seed=seed)[1]["problem_id"]
        return [first, *(env.reset()[1]["problem_id"] for _ in range(30))]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert len({p for seed in range(8) for p in drawn(seed)}) == 20  # all problems, evenly drawn


def test_texts_of_any_script_are_observations_but_not_endless_ones() -> None:
    env = begun()
    assert env.step("中文 ½ 🍎 \u2028 \x00")[0] in env.observation_space
    assert "a" * (1 << 16) in env.action_space
    assert "a" * ((1 << 16) + 1) not in env.action_space
    assert 5 not in env.action_space
    env.reset(options={"index": 0})
    assert env.step("a" * 200_000 + "\n#### 1")[0] in env.observation_space


def test_calculator_and_triggers() -> None:
    assert begun().interject("it is <<4+1=") == "5>>"
    assert begun().interject("it is 4+1=") == ""
    assert begun(calculator=False).interject("it is <<4+1=") == ""
    assert begun().triggers == ("=",)
    assert begun(mode="stepwise").triggers == ("=", "\n")
    assert begun(calculator=False).triggers == ()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: TextEnv(Sums()).step("x"), "sums: step before reset"),
        (lambda: TextEnv(Sums()).reset(options={"index": 20}), "no problem 20; the train split has 20"),
        (lambda: TextEnv(Sums()).reset(options={"index": -1}), "no problem -1"),
        (lambda: TextEnv(Sums(), mode="steps"), "mode must be 'whole' or 'stepwise', not 'steps'"),
        (lambda: TextEnv(Sums(), max_steps=0), "max_steps must be at least 1, not 0"),
        (lambda: TextVectorEnv([]), "at least one"),
        (lambda: TextVectorEnv([TextEnv(Sums())]).reset([0, 1]), "1 rows need as many indices, not 2"),
        (lambda: TextVectorEnv([TextEnv(Sums())]).step(["a"]), "row 0 is over"),
    ],
)  # fmt: skip
def test_wrong_use_is_named(use, message: str) -> None:
    with pytest.raises(EnvError, match=message) as caught:
        use()
    assert "\n" not in str(caught.value)


def test_no_step_after_the_end() -> None:
    env = begun()
    env.step("#### 5")
    with pytest.raises(EnvError, match="after the episode's end"):
        env.step("#### 5")


def test_rows_of_a_vector_end_one_by_one() -> None:
    env = TextVectorEnv([TextEnv(Sums(), mode="stepwise", max_steps=2) for _ in range(3)])
    observations, infos = env.reset([0, 1, 2])
    assert observations == ["0 + 1?", "1 + 1?", "2 + 1?"]
    assert [info["problem_id"][-1] for info in infos] == ["0", "1", "2"]
    observations, rewards, terminated, truncated, infos = env.step(["#### 1\n", "a\n", "b\n"])
    assert rewards == [1.0, 0.0, 0.0]
    assert (terminated, truncated) == ([True, False, False], [False, False, False])
    with pytest.raises(EnvError, match="row 1 is under way"):
        env.step([None, None, "c\n"])
    observations, rewards, terminated, truncated, infos = env.step([None, "#### 3\n", "c\n"])
    assert observations[0] == "0 + 1?\n#### 1\n"
    assert rewards == [0.0, 0.0, 0.0]
    assert (terminated, truncated) == ([True, True, False], [False, False, True])
    assert [info.get("correct", "none") for info in infos] == ["none", False, None]
    with pytest.raises(EnvError, match="row 2 is over"):
        env.step([None, None, "d\n"])
    assert env.reset([5, 5, 5])[0] == ["5 + 1?"] * 3
