"""The student: what it sees, what it remembers, and who is who in a team."""

import numpy as np
import pytest
import torch

from tests.roles.teacher.cases import maps, segment, vector_student
from understudy.envs.grid.codes import AGENT, BALL, BOX, DIRECTIONS, DOOR, KEY, NOBODY
from understudy.envs.grid.egocentric import KINDS, entries, vocabulary
from understudy.roles.teacher.config import StudentConfig, TeacherConfig
from understudy.roles.teacher.setup import make_student, make_world
from understudy.roles.teacher.student import ILLEGAL, MapEncoder, PaperEncoder, Team, initialise
from understudy.rollout.world import MISSION_BUCKETS
from understudy.run.seed import Seeds


def encoder(width, height, seed=0, *, mission=False):
    made = MapEncoder(vocabulary(width, height), 6, mission=mission)
    initialise(made, np.random.default_rng(seed))
    with torch.no_grad():
        made.table.mul_(10)
        made.bias.add_(0.3)
    return made


def look(made, image, **more):
    return made({"entries": torch.from_numpy(entries(image)), **more})


def brute(made, image):
    """Cell by cell: a one-hot map in the agent's frame through a linear layer."""
    _, width, height, _ = image.shape
    reach = max(width, height) - 1
    out = []
    for cells in image.astype(int):
        (ax, ay), *_ = [
            (x, y) for x in range(width) for y in range(height) if cells[x, y, 3] != NOBODY
        ]
        fx, fy = DIRECTIONS[cells[ax, ay, 3]]
        hot = np.zeros((2 * reach + 1, 2 * reach + 1, KINDS + 6))
        for x in range(width):
            for y in range(height):
                kind, colour, state, _ = cells[x, y]
                if kind == 0:
                    continue
                dx, dy = x - ax, y - ay
                ahead = dx * fx + dy * fy
                right = dx * -fy + dy * fx
                here = hot[ahead + reach, right + reach]
                here[kind if kind != DOOR or state == 0 else AGENT + state] = 1
                if kind in (DOOR, KEY, BALL, BOX):
                    here[KINDS + colour] = 1
        table = made.table.detach().numpy().astype(float)
        out.append(np.maximum(hot.reshape(-1) @ table[1:] + made.bias.detach().numpy(), 0))
    return torch.from_numpy(np.array(out))


@pytest.mark.parametrize(("width", "height"), [(5, 5), (4, 7), (8, 3)])
def test_the_map_encoder_is_a_linear_layer_over_a_one_hot_map(width, height):
    made, image = encoder(width, height), maps(np.random.default_rng(1), 20, width, height)
    found = look(made, image)
    torch.testing.assert_close(found.double(), brute(made, image), atol=1e-5, rtol=1e-5)
    assert (found > 0).float().mean() > 0.2


def test_a_turned_world_looks_the_same():
    made, image = encoder(6, 6), maps(np.random.default_rng(2), 30, 6, 6)
    first = look(made, image)
    turned = image
    for _ in range(4):
        # A quarter turn: (x, y) goes to (height − 1 − y, x), east becomes south.
        turned = np.ascontiguousarray(turned.transpose(0, 2, 1, 3)[:, ::-1])
        agent = turned[..., 3] != NOBODY
        turned[..., 3][agent] = (turned[..., 3][agent] + 1) % 4
        torch.testing.assert_close(look(made, turned), first)
    mirrored = np.ascontiguousarray(image[:, :, ::-1])
    assert not torch.allclose(look(made, mirrored), first, atol=0.1)


def test_a_shifted_world_looks_the_same():
    made = encoder(8, 8)
    small = maps(np.random.default_rng(3), 12, 4, 5)
    looks = []
    for x, y in ((0, 0), (2, 1), (4, 3)):
        image = np.zeros((12, 8, 8, 4), np.uint8)
        image[..., 3] = NOBODY
        image[:, x : x + 4, y : y + 5] = small
        looks.append(look(made, image))
    torch.testing.assert_close(looks[1], looks[0])
    torch.testing.assert_close(looks[2], looks[0])


def test_the_mission_is_seen():
    made, image = (
        encoder(5, 5, mission=True),
        maps(np.random.default_rng(4), 2, 5, 5),
    )
    bags = torch.zeros(2, MISSION_BUCKETS, dtype=torch.uint8)
    without = look(made, image, mission=bags)
    bags[1, 7] = 1
    found = look(made, image, mission=bags)
    assert torch.equal(found[0], without[0])
    assert not torch.equal(found[1], without[1])


def test_the_papers_encoder_sees_the_map_from_above():
    made = PaperEncoder(5, 4, 6)
    initialise(made, np.random.default_rng(0))
    image = torch.from_numpy(maps(np.random.default_rng(5), 3, 5, 4))
    assert made({"image": image}).shape == (3, 6)
    assert not torch.allclose(made({"image": image}), made({"image": image.flip(1)}))


def test_an_unrolled_memory_is_the_memory_step_by_step():
    student = vector_student(recurrent=True)
    made = segment(student, np.random.default_rng(6))
    unrolled = student.unroll(made.features, made.hidden, made.starts)
    hidden = made.hidden
    for t in range(len(made.starts)):
        outlook = student({"own": made.features["own"][t]}, hidden, made.starts[t])
        torch.testing.assert_close(outlook.logits, unrolled.logits[t])
        torch.testing.assert_close(outlook.values, unrolled.values[t])
        hidden = outlook.hidden
    torch.testing.assert_close(hidden, unrolled.hidden)


def test_nothing_is_remembered_across_an_episodes_boundary():
    student = vector_student(recurrent=True)
    made = segment(student, np.random.default_rng(7), steps=5, rows=1, ends=0.0)
    made.starts[:] = torch.tensor([0, 0, 1, 0, 0]).bool()[:, None]
    own = made.features["own"].clone().requires_grad_()
    hidden = made.hidden.clone().requires_grad_()
    outlook = student.unroll({"own": own}, hidden, made.starts)
    slopes = torch.autograd.grad(outlook.logits[2:].pow(2).sum(), (own, hidden), retain_graph=True)
    assert (slopes[0][:2] == 0).all()
    assert (slopes[1] == 0).all()
    assert (slopes[0][2:] != 0).any(-1).all()
    before = torch.autograd.grad(outlook.logits[:2].pow(2).sum(), (own, hidden))
    assert (before[1] != 0).any()
    assert (before[0][2:] == 0).all()


def test_a_team_is_each_agents_own_student():
    students = [vector_student(seed) for seed in range(3)]
    team = Team(students)
    rng = np.random.default_rng(8)
    agents = torch.from_numpy(rng.permutation(np.arange(12) % 3))
    own, starts = (
        torch.randn(1, 12, 3, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 12, dtype=torch.bool),
    )
    found = team.unroll({"own": own, "agent": agents[None]}, team.start(12), starts)
    for row, agent in enumerate(agents.tolist()):
        alone = students[agent].unroll({"own": own[:, row : row + 1]}, team.start(1), starts[:, :1])
        torch.testing.assert_close(found.logits[:, row : row + 1], alone.logits)
        torch.testing.assert_close(found.values[:, row : row + 1], alone.values)
    found.logits[:, agents == 1].sum().backward()
    assert students[1].actor[0].weight.grad.abs().sum() > 0
    for other in (students[0], students[2]):
        assert other.actor[0].weight.grad is None or not other.actor[0].weight.grad.any()


def test_a_team_remembers_each_for_itself():
    students = [vector_student(seed, recurrent=True) for seed in range(2)]
    team, rng = Team(students), np.random.default_rng(9)
    made = segment(students[0], rng, rows=4)
    agents = torch.tensor([0, 1, 1, 0])
    features = {**made.features, "agent": agents.repeat(len(made.starts), 1)}
    found = team.unroll(features, made.hidden, made.starts)
    for row, agent in enumerate(agents.tolist()):
        mine = slice(row, row + 1)
        alone = students[agent].unroll(
            {"own": made.features["own"][:, mine]}, made.hidden[mine], made.starts[:, mine]
        )
        torch.testing.assert_close(found.logits[:, mine], alone.logits)
        torch.testing.assert_close(found.hidden[mine], alone.hidden)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("central", [True, False])
def test_agents_of_a_particle_world(shared, central):
    config = TeacherConfig(
        env="mpe/simple_speaker_listener",
        student=StudentConfig(shared=shared, central=central, width=16),
    )
    world = make_world(config, 4)
    student = make_student(config, world, Seeds(0))
    assert isinstance(student, Team) is not shared
    features = world.features(world.reset(0))
    starts = torch.ones(world.rows, dtype=torch.bool)
    before = student(features, student.start(world.rows), starts)
    # The speaker's three words are its only actions; the listener has five.
    speaks = features["agent"] == 0
    assert (before.logits[speaks, 3:] == ILLEGAL).all()
    assert (before.logits[:, :3].abs() < 1).all()
    assert (before.logits[~speaks].abs() < 1).all()
    assert (before.logits[speaks].softmax(-1)[:, 3:] == 0).all()
    # What the others see moves the critic's value alone, and only a central critic's.
    seen = {**features, "all": features["all"] + 1.0}
    after = student(seen, student.start(world.rows), starts)
    assert torch.equal(after.logits, before.logits)
    assert torch.equal(after.values, before.values) is not central


def test_first_weights_follow_the_seed_and_begin_all_but_uniform():
    config = TeacherConfig()
    world = make_world(config, 2)
    one, same, other = (make_student(config, world, Seeds(seed)) for seed in (0, 0, 1))
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.actor[0].weight, other.actor[0].weight)
    features = world.features(world.reset(0))
    outlook = one(features, one.start(2), torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(
        outlook.logits.softmax(-1), torch.full((2, 7), 1 / 7), atol=0.02, rtol=0
    )
