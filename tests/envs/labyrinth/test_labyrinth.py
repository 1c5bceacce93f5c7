"""The batched environment: its errors, its depth image, its recorded launches."""

import ctypes
from typing import Annotated, NamedTuple

import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.labyrinth import launcher
from morello.envs.labyrinth.kernels.arrays import Levels, Worlds, view
from morello.envs.labyrinth.labyrinth import Labyrinth
from morello.envs.labyrinth.world import Bytes, Floats, declared
from morello.envs.rows import empty_rollout


def labyrinth(name: str = "nav_maze_static_01", num_envs: int = 3, **options) -> Labyrinth:
    env = morello.make(f"labyrinth:{name}", num_envs, frame_size=(5, 7), **options)
    assert isinstance(env, Labyrinth)
    return env


def launches(env: Labyrinth) -> list:
    return [command for parts in env._launcher._recorded.values() for part in parts for command in part]


def test_mistakes_are_named() -> None:
    env = labyrinth()
    with pytest.raises(UserError, match="reset"):
        env.step(torch.zeros(3, dtype=torch.int64))
    env.reset()
    with pytest.raises(ValueError, match="shape"):
        env.step(torch.zeros(2, dtype=torch.int64))
    for wrong in (-1, 9):
        with pytest.raises(ValueError, match=r"\[0, 9\)"):
            env.step(torch.tensor([0, wrong, 3]))
    with pytest.raises(UserError, match=r"position is \[2, 2\]"):
        env.load_state_dict(labyrinth(num_envs=2).state_dict())
    with pytest.raises(ValueError, match="contiguous"):
        view(torch.zeros(4, 6)[:, ::2])


def test_wrong_tensors_are_refused() -> None:
    env = labyrinth()
    now = env.reset()
    for action in (torch.zeros(3), torch.zeros(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="integers"):
            env.step(action)
    for mask in (torch.ones(1, dtype=torch.bool), torch.ones(2, dtype=torch.bool), torch.tensor([2, 0, 0])):
        with pytest.raises(ValueError, match="mask"):
            env.reset(mask=mask)
    position = {**now.info, "position": torch.zeros(3, 3)}
    wrong = {
        "reward": now._replace(reward=torch.zeros(2)),
        "discount": now._replace(discount=torch.zeros(3, dtype=torch.float64)),
        "task": now._replace(task=torch.zeros(3, dtype=torch.int32)),
        "first": now._replace(first=torch.zeros(3, dtype=torch.bool, device="meta")),
        "position": now._replace(info=position),
        "cell": now._replace(info={k: v for k, v in now.info.items() if k != "cell"}),
        "image": now._replace(observation={}),
    }
    for name, out in wrong.items():
        with pytest.raises(ValueError, match=f"out needs {name} "):
            env.step(torch.zeros(3, dtype=torch.int64), out=out)


def test_every_environment_is_begun_before_it_steps() -> None:
    env, some = labyrinth(), torch.tensor([True, False, True])
    with pytest.raises(UserError, match="every environment"):
        env.reset(mask=some)
    env.load_state_dict(labyrinth().state_dict())  # of worlds that never began
    with pytest.raises(UserError, match="reset"):
        env.step(torch.zeros(3, dtype=torch.int64))
    begun = labyrinth()
    begun.reset(mask=torch.ones(3, dtype=torch.bool))
    env.load_state_dict(begun.state_dict())
    assert env.reset(mask=some).first.tolist() == [True, True, True]
    assert env.world.episode.tolist() == [2, 1, 2]
    assert env.step(torch.zeros(3, dtype=torch.int64)).first.tolist() == [False] * 3


def test_frames_have_an_end() -> None:
    with pytest.raises(UserError, match="16777216 pixels"):
        morello.make("labyrinth:seekavoid_arena_01", frame_size=(4097, 4096))


def test_a_field_is_declared_once() -> None:
    """What `World` and `Tables` declare is what tensors hold and what kernels see."""
    env = labyrinth("nav_maze_random_goal_01")
    for tensors, struct in (env.world, Worlds), (env.tables, Levels):
        fields = declared(type(tensors))
        assert list(fields) == list(tensors._fields) == list(struct.vars)
        for name, tensor in tensors._asdict().items():
            field, array, seen = fields[name], view(tensor), struct.vars[name].type
            assert tensor.dtype == getattr(torch, field.dtype), name
            sizes = zip(field.shape, tensor.shape[1:], strict=True)
            assert all(isinstance(size, str) or size == there for size, there in sizes), name
            assert (array.dtype, array.ndim) == (seen.dtype, seen.ndim), name


def test_a_line_declares_a_field() -> None:
    class More(NamedTuple):
        energy: Floats
        memory: Annotated[Bytes, "items", 2]

    assert declared(More) == {"energy": ("float32", ()), "memory": ("uint8", ("items", 2))}


def test_depth_is_an_observation_when_asked_for() -> None:
    env = labyrinth("seekavoid_arena_01", depth=True)
    assert env.spec.observation["depth"] == ((5, 7), torch.float32)
    depth = env.reset().observation["depth"]
    # the start faces the northern wall, 605 units away: the middle row sees it at that depth
    assert depth.shape == (3, 5, 7)
    assert depth[0, 2, 3] == pytest.approx(605, abs=0.1)
    assert list(labyrinth().spec.observation) == ["image"]
    rollout = empty_rollout(env.spec, env.reset(), 2, ())
    env.step(torch.zeros(3, dtype=torch.int64), out=rollout.row(1))
    assert rollout.observation["depth"][1, 0, 2, 3] == pytest.approx(605 - 7.822, abs=0.1)


def test_launches_are_recorded_once_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "MAX_RECORDED", 7)
    env = labyrinth(threads=2)
    rollout = empty_rollout(env.spec, env.reset(), 5, ())
    action = torch.zeros(3, dtype=torch.int64)
    for _ in range(4):
        for t in range(5):
            env.step(action, out=rollout.row(t + 1))
    assert len(env._launcher._recorded) == 6  # the reset and five rows
    assert len(launches(env)) == 6 * 2 * 2  # two parts, logic and picture
    kept = [env.step(action, out=empty_rollout(env.spec, env.reset(), 1, ()).row(1)) for _ in range(9)]
    assert len(env._launcher._recorded) <= 7
    assert torch.stack([k.info["position"] for k in kept]).isfinite().all()


def test_kernel_parameters_fit_old_gpus() -> None:
    env = labyrinth(depth=True)
    env.reset()
    for command in launches(env):
        size = sum(ctypes.sizeof(p) if isinstance(p, ctypes.Structure) else 8 for p in command.params)
        assert size <= 4096, "CUDA passed at most 4 KiB to a kernel before 12.1"


def test_cells_tile_the_floor() -> None:
    facts = (("nav_maze_static_01", 100, 10), ("seekavoid_arena_01", 50, 18), ("my_way_home_dense", 32, 30))
    for name, size, columns in facts:
        env = labyrinth(name, 11)
        now, seen = env.reset(), set()
        generator = torch.Generator().manual_seed(2)
        for _ in range(40):
            now = env.step(torch.randint(env.spec.num_actions, (11,), generator=generator))
            x, y = now.info["position"].unbind(1)
            assert torch.equal(now.info["cell"], (y // size * columns + x // size).long())
            seen.update(now.info["cell"].tolist())
        assert min(seen) >= 0
        assert max(seen) < env.num_cells


@pytest.mark.gpu
def test_a_gpu_plays_the_same_episodes_as_a_cpu() -> None:
    for name in ("nav_maze_random_goal_01", "explore_goal_locations_small", "my_way_home_dense", "multi_room_3d_6_5"):
        cpu, gpu = labyrinth(name, 13), labyrinth(name, 13, device="cuda")
        a, b = cpu.reset(), gpu.reset()
        assert torch.equal(cpu.world.walls, gpu.world.walls.cpu())
        assert torch.equal(cpu.world.item_position, gpu.world.item_position.cpu())
        assert torch.equal(cpu.world.draw, gpu.world.draw.cpu())
        generator = torch.Generator().manual_seed(1)
        for _ in range(10):  # longer, rounding may tell the two apart
            action = torch.randint(cpu.spec.num_actions, (13,), generator=generator)
            a, b = cpu.step(action), gpu.step(action.cuda())
            torch.testing.assert_close(a.info["position"], b.info["position"].cpu(), atol=0.01, rtol=0)
            torch.testing.assert_close(a.reward, b.reward.cpu())


@pytest.mark.gpu
def test_steps_can_be_captured_in_a_cuda_graph() -> None:
    env, twin = (labyrinth("nav_maze_random_goal_01", 13, device="cuda") for _ in range(2))
    first = env.reset()
    twin.reset()
    rollout = empty_rollout(env.spec, first, 5, ())
    action = torch.zeros(13, dtype=torch.int64, device="cuda")
    env.step(action)
    twin.step(action)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for t in range(5):
            env.step(action, out=rollout.row(t + 1))
    for _ in range(3):
        graph.replay()
        for t in range(5):
            now = twin.step(action)
            assert torch.equal(rollout.observation["image"][t + 1], now.observation["image"])
            assert torch.equal(rollout.info["position"][t + 1], now.info["position"])
