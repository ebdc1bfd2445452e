"""Advice is a distribution over actions; agents hear each other; the gate closes."""

import numpy as np
import pytest
import torch

from tests.roles.teacher.test_planner import Scorer, ask
from understudy.envs.grid.doorkey import DoorKeyVector
from understudy.envs.grid.plans import read
from understudy.envs.grid.scene import Scene, describe
from understudy.envs.grid.skills import actions
from understudy.envs.mpe import skills
from understudy.envs.mpe.vector import TASKS, MpeVector
from understudy.envs.mpe.words import goals
from understudy.roles.teacher.advice import GoalTeacher, PlanTeacher
from understudy.roles.teacher.book import Book, Row
from understudy.roles.teacher.evaluate import evaluate, teacher_acts
from understudy.roles.teacher.gate import CLOSED_BELOW, GRACE, Gate
from understudy.roles.teacher.planner import BookPlanner, ExpertPlanner
from understudy.roles.teacher.trial import try_out
from understudy.rollout.world import GridWorld, MpeWorld
from understudy.run.errors import RunError


class Fixed:
    """A planner that answers from a function and notes what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def answers(self, questions):
        self.asked += [q.text for q in questions]
        return [self.answer(q) for q in questions]


def rooms(n=5, task="ColoredDoorKey"):
    env = DoorKeyVector(task, n)
    return env, env.reset(seed=0)[0]


def wander(env, teacher, observation, steps):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        advice = teacher(observation)
        assert advice.dtype == np.float32
        assert (advice >= 0).all()
        np.testing.assert_allclose(advice.sum(1), 1.0, atol=1e-5)
        observation = env.step(rng.integers(0, 7, env.num_envs))[0]


@pytest.mark.parametrize("task", ["SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor"])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_advice_in_a_grid_sums_to_1(task, noise):
    env, observation = rooms(8, task)
    wander(env, PlanTeacher(ExpertPlanner(noise)), observation, 60)


def test_advice_mixes_the_first_actions_of_the_plans():
    _, observation = rooms()
    shares = {"explore": 0.5, "wait": 0.25, "go to goal, wait": 0.25}
    usable = {plan: share for plan, share in shares.items() if "goal" not in plan} | {
        "explore walls": 0.25
    }
    teacher = PlanTeacher(Fixed(lambda _: tuple(usable.items())))
    advice = teacher(observation)
    scene = Scene.of(observation["image"])
    words = describe(scene, observation["mission"])
    wanted = np.zeros_like(advice)
    for plan, share in usable.items():
        taken = actions(scene, [read(plan, w.objects) for w in words])
        wanted[np.arange(5), taken] += share
    np.testing.assert_allclose(advice, wanted)
    hard = PlanTeacher(Fixed(lambda _: tuple(usable.items())), hard=True)(observation)
    assert (hard.max(1) == 1).all()
    np.testing.assert_array_equal(hard.argmax(1), actions(scene, [read("explore", ())] * 5))


def test_each_text_is_asked_once_and_counted():
    env, observation = rooms(16)
    planner = Fixed(lambda _: (("explore", 1.0),))
    teacher = PlanTeacher(planner)
    wander(env, teacher, observation, 40)
    assert len(planner.asked) == len(set(planner.asked)) == len(teacher.met)
    assert sum(teacher.met.values()) == 16 * 40
    assert len(teacher.latest) == 16
    twin = PlanTeacher(planner)
    twin.recount(teacher.counts())
    assert (twin.met, twin.fallbacks) == (teacher.met, teacher.fallbacks)


def test_fallbacks_are_counted_as_often_as_they_are_met(tmp_path):
    env, observation = rooms(4)

    def rows(questions):
        return [Row(q.text, (("explore", 1.0),), "", known(q.text)) for q in questions]

    def known(text):
        return "key" in text.split("Remembered")[1]

    teacher = PlanTeacher(BookPlanner(Book.open(tmp_path / "b", {"model": "m"}), rows))
    wander(env, teacher, observation, 50)
    wanted = sum(n for text, n in teacher.met.items() if known(text))
    assert teacher.fallbacks == wanted
    assert 0 < wanted < 200


def test_a_recorded_plan_that_is_none_is_one_line():
    _, observation = rooms()
    with pytest.raises(RunError, match="a recorded plan cannot be read: no 'dragon' here"):
        PlanTeacher(Fixed(lambda _: (("go to dragon", 1.0),)))(observation)


def test_only_the_papers_teacher_walks_through_lava():
    found = {}
    for lava in (False, True):
        world = GridWorld(DoorKeyVector("LavaDoorKey", 100))
        teacher = PlanTeacher(ExpertPlanner(), through_lava=lava)
        found[lava] = evaluate(world, teacher_acts(teacher, np.random.default_rng(0))).success
    assert found[False] >= 0.98
    assert found[True] < 0.9


# ---- several agents --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_advice_to_agents_sums_to_1(name, noise):
    env = MpeVector(name, 6)
    world = MpeWorld(env)
    observation = env.reset(0)
    teachers = [
        GoalTeacher(ExpertPlanner(noise), env.task),
        GoalTeacher(
            Fixed(lambda q: tuple((o, 1 / len(q.options)) for o in q.options)), env.task, hear=True
        ),
    ]
    rng = np.random.default_rng(0)
    for _ in range(10):
        illegal = world.features(observation)["illegal"].numpy()
        for teacher in teachers:
            advice = teacher(observation)
            assert advice.shape == (world.rows, world.actions)
            assert advice.dtype == np.float32
            np.testing.assert_allclose(advice.sum(1), 1.0, atol=1e-5)
            assert (advice[illegal] == 0).all()
            assert len(teacher.latest) == world.rows
        taken = np.where(illegal, -1, rng.random(illegal.shape)).argmax(1)
        observation = world.step(taken).observation


def test_the_experts_advice_is_its_skill():
    env = MpeVector("simple_spread", 4)
    observation = env.reset(3)
    advice = GoalTeacher(ExpertPlanner(), env.task)(observation).reshape(4, 3, -1)
    chosen = skills.expert_goals(env.task, observation)
    for a, agent in enumerate(env.agents):
        taken = skills.act(env.task, agent, chosen[agent], observation[agent])
        np.testing.assert_array_equal(advice[:, a].argmax(1), taken)
        assert (advice[:, a].max(1) == 1).all()


def test_agents_hear_what_the_others_intend():
    env = MpeVector("simple_spread", 2)
    observation = env.reset(0)
    names = goals(env.task, "agent_0")

    def answer(question):
        me = int(question.text.split("You are agent_")[1][0])
        if "will" not in question.text:
            return ((names[me], 0.6), ("stay", 0.4))
        return ((names[(me + 1) % 3], 1.0),)

    deaf = Fixed(answer)
    GoalTeacher(deaf, env.task)(observation)
    assert not any(" will " in text for text in deaf.asked)

    planner = Fixed(answer)
    teacher = GoalTeacher(planner, env.task, hear=True)
    advice = teacher(observation).reshape(2, 3, -1)
    for a, agent in enumerate(env.agents):
        # What it does in the end is the second answer.
        taken = skills.act(env.task, agent, np.full(2, (a + 1) % 3), observation[agent])
        np.testing.assert_array_equal(advice[:, a].argmax(1), taken)
        heard = [text for text in planner.asked if f"You are {agent}." in text and " will " in text]
        assert heard
        for text in heard:
            for b, other in enumerate(env.agents):
                assert (f"{other} will {names[b]}." in text) is (b != a)
    assert all(" will " in text for text in teacher.latest)


def test_a_models_goals_are_asked_by_text(tmp_path):
    env = MpeVector("simple_speaker_listener", 8)
    observation = env.reset(0)
    lm = Scorer({"stay": 5.0})
    teacher = GoalTeacher(BookPlanner(Book.open(tmp_path / "b", {"model": "m"}), ask(lm)), env.task)
    np.testing.assert_allclose(teacher(observation).sum(1), 1.0, atol=1e-5)
    texts = len(lm.asked)
    assert texts == len(teacher.met) < 16
    teacher(observation)
    assert len(lm.asked) == texts
    assert teacher.fallbacks == 0


def test_a_recorded_goal_that_is_none_is_one_line():
    env = MpeVector("simple_spread", 2)
    with pytest.raises(
        RunError, match="a recorded goal is none: 'go to the moon'; there are go to landmark 1"
    ):
        GoalTeacher(Fixed(lambda _: (("go to the moon", 1.0),)), env.task)(env.reset(0))


# ---- the gate --------------------------------------------------------------------------------------


class Texts:
    """A teacher whose texts are scripted."""

    def __init__(self, latest):
        self.latest = latest

    def __call__(self, _):
        return np.ones((len(self.latest), 1), np.float32)


def test_the_gate_follows_where_the_teacher_is_worth_more():
    teacher = Texts(["a", "b", "never met"])
    gate = Gate(teacher, {"a": 0.5, "b": 0.1})
    advise = gate.watch(teacher)
    advise({})
    advise({})
    mask = gate.mask(torch.tensor([[0.4, 0.4, 9.0], [0.6, 0.0, 9.0]]))
    assert mask.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert not gate.closed
    # Each round begins anew.
    advise = gate.watch(teacher)
    advise({})
    assert gate.mask(torch.zeros(1, 3)).tolist() == [[1, 1, 1]]


def test_the_gate_closes_where_the_student_is_better_nearly_everywhere():
    teacher = Texts(["a"] * 100)
    for below, closed in ((5, False), (4, True)):
        gate = Gate(teacher, {"a": 0.5})
        values = torch.full((1, 100), 0.9)
        values[0, :below] = 0.1
        for _ in range(GRACE):  # a student's first values are worth nothing yet
            gate.watch(teacher)({})
            gate.mask(values)
            assert not gate.closed
        gate.watch(teacher)({})
        assert gate.mask(values).mean() == pytest.approx(below / 100)
        assert gate.closed is closed
        again = Gate(teacher, {})
        again.set_state(gate.get_state())
        assert (again.closed, again.values) == (closed, {"a": 0.5})
    assert CLOSED_BELOW == 0.05


def test_what_the_teacher_earns_by_text():
    world = GridWorld(DoorKeyVector("SimpleDoorKey", 12))
    teacher = PlanTeacher(ExpertPlanner())
    trial = try_out(teacher, world, 500, 0.9, np.random.default_rng(0))
    values = trial.values
    # The same episodes again, counted from their ends.
    observation = world.reset(500)
    twin, found, t = PlanTeacher(ExpertPlanner()), {}, 0
    texts, paid, running = [[] for _ in range(12)], np.zeros(12), np.ones(12, bool)
    while running.any():
        taken = twin(observation).argmax(1)
        for row in np.flatnonzero(running):
            texts[row].append(twin.latest[row])
        turn = world.step(taken)
        ended = running & (turn.terminated | turn.truncated)
        paid[ended] = turn.rewards[ended]
        running &= ~ended
        observation = turn.observation
    for row, seen in enumerate(texts):
        for t, text in enumerate(seen):
            found.setdefault(text, []).append(paid[row] * 0.9 ** (len(seen) - 1 - t))
    np.testing.assert_allclose(trial.returns[:, 0], paid, rtol=1e-6)
    assert trial.passed
    assert trial.random.max() == 0
    assert trial.steps == sum(map(len, texts)) + 12 * 150  # random actions never open the door
    assert values == pytest.approx({text: np.mean(v) for text, v in found.items()}, rel=1e-4)
    held = next(v for text, v in values.items() if "Held: key" in text and "door" in text)
    assert held > values[min(values, key=values.get)]


class Wrong(ExpertPlanner):
    """Always the worst advice."""

    def answers(self, questions):
        return [(("wait", 1.0),)] * len(questions)


def test_a_teacher_no_better_than_chance_fails_its_trial():
    world = GridWorld(DoorKeyVector("SimpleDoorKey", 12))
    trial = try_out(PlanTeacher(Wrong()), world, 500, 0.9, np.random.default_rng(0))
    assert not trial.passed
    assert trial.summary()["return"] == 0
