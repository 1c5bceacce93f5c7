"""MiniWorld in our words. Needs the system's OpenGL; skipped, with what to install, where there is none."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
import torch

import morello
from morello.envs.errors import UserError
from morello.envs.rows import leaves

ours = import_module("morello.envs.adapters.miniworld")


def play(env, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = [{k: v.clone() for k, v in leaves(env.reset()).items()}]
    for _ in range(steps):
        now = env.step(torch.randint(env.spec.num_actions, (env.num_envs,), generator=generator))
        rows.append({k: v.clone() for k, v in leaves(now).items()})
    return rows


def assert_same(a, b):
    for t, (x, y) in enumerate(zip(a, b, strict=True)):
        for name in x:
            assert torch.equal(x[name], y[name]), (t, name)


@pytest.mark.usefixtures("drawn")
def test_answers_are_those_of_one_process():
    """Episodes of OneRoomS6Fast last at most 50 steps, so that every environment is reset on the way."""
    options = {"frame_size": (20, 28), "seed": 5}
    env = morello.make("miniworld:OneRoomS6Fast", 3, env_workers=2, **options)
    assert env.spec.observation == {"image": ((20, 28, 3), torch.uint8)}
    assert env.spec.action_names == ("turn_left", "turn_right", "move_forward")
    assert (env.spec.max_steps, env.spec.frames_per_step) == (50, 1)
    rows = play(env, 60)
    env.close()
    one = morello.make("miniworld:OneRoomS6Fast", 3, env_workers=0, **options)
    assert_same(rows, play(one, 60))
    assert torch.stack([r["last"] for r in rows]).any(0).all()
    assert min(r["image"].float().std() for r in rows) > 3
    assert not torch.equal(rows[0]["image"][0], rows[0]["image"][1])
    one.close()


@pytest.mark.usefixtures("drawn")
def test_an_environment_keeps_its_walls_when_another_is_reset():
    """In MiniWorld itself it loses them: environments of one process share their display lists."""
    alone = morello.make("miniworld:FourRooms", 1, env_workers=0, seed=3)
    rows = [alone.reset().observation["image"].clone()]
    rows += [alone.step(torch.tensor([0])).observation["image"].clone() for _ in range(2)]
    again = morello.make("miniworld:FourRooms", 1, env_workers=0, seed=3)
    assert torch.equal(again.reset().observation["image"], rows[0])
    other = morello.make("miniworld:Hallway", 1, env_workers=0)
    for row in rows[1:]:
        other.reset()
        assert torch.equal(again.step(torch.tensor([0])).observation["image"], row)
    other.close()  # and its window with it
    alone.close()
    assert again.step(torch.tensor([1])).observation["image"].float().std() > 3


@pytest.mark.usefixtures("drawn")
def test_it_is_what_miniworld_draws():
    env = morello.make("miniworld:Hallway", 1, env_workers=0, seed=9)
    now = env.reset().observation["image"][0].numpy().copy()
    twin = gymnasium.make("MiniWorld-Hallway-v0")
    seen, _ = twin.reset(seed=9)
    np.testing.assert_array_equal(now, seen)
    assert now.shape == (60, 80, 3)


@pytest.mark.usefixtures("drawn")
def test_every_environment_builds():
    morello.make("miniworld:Hallway", 1, env_workers=0, frame_size=(5, 7))
    names = [i.removeprefix("MiniWorld-").removesuffix("-v0") for i in gymnasium.registry if i.startswith("MiniW")]
    assert len(names) > 20
    for name in names:
        env = morello.make(f"miniworld:{name}", 1, env_workers=0, frame_size=(5, 7))
        image = env.reset().observation["image"]
        assert image.shape == (1, 5, 7, 3)
        assert not env.spec.action_names[0].startswith("action")
        env.close()


@pytest.mark.usefixtures("drawn")
def test_a_mistake_gets_one_sentence():
    with pytest.raises(UserError, match="MiniWorld has no environment 'Halway'; did you mean Hallway"):
        morello.make("miniworld:Halway", 1, env_workers=0)
    with pytest.raises(UserError, match="frame_size is height and width, two whole numbers from 1"):
        morello.make("miniworld:Hallway", 1, env_workers=0, frame_size=(0, 5))


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(ours, "WAYS", {"egl": "raise ImportError('no EGL')", "osmesa": "raise OSError('no OSMesa')"})
    if find_spec("miniworld") is None:
        pytest.skip("MiniWorld is not installed: pip install 'morello[envs]'")
    with pytest.raises(UserError, match=r"egl: ImportError: no EGL; osmesa: .*: apt-get install libegl1") as caught:
        ours.way_to_draw.__wrapped__()
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'morello\[envs\]'"):
        ours.way_to_draw.__wrapped__()


PICTURES = """
import hashlib, sys, torch
from morello.envs.adapters.miniworld import MiniWorld
env = MiniWorld("FourRooms", 2, torch.device("cpu"), 3, way=sys.argv[1])
env.reset()
pictures = [env.step(torch.tensor([2, a % 3])).observation["image"].numpy().tobytes() for a in range(20)]
libraries = open("/proc/self/maps").read()
print(hashlib.sha256(b"".join(pictures)).hexdigest(), "libEGL" in libraries, "libOSMesa" in libraries)
"""


def test_osmesa_draws_what_egl_draws(drawn):
    if drawn != "egl" or ours.attempt("osmesa") is not None:
        pytest.skip("needs both EGL and OSMesa: apt-get install libegl1 libosmesa6")
    said = {
        way: subprocess.run([sys.executable, "-c", PICTURES, way], check=True, capture_output=True, text=True).stdout
        for way in ours.WAYS
    }
    (egl, *with_egl), (osmesa, *with_osmesa) = (said[way].split() for way in ("egl", "osmesa"))
    assert with_egl == ["True", "False"]
    assert with_osmesa == ["False", "True"]
    assert egl == osmesa
