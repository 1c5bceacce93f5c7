"""Chains of rooms: where reward is, how far it is, and how rarely random play gets there."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.labyrinth.levels import LEVELS, recorded_scores
from morello.envs.labyrinth.levels.rooms_chain import LENGTHS, TEXTURES
from morello.envs.labyrinth.maps import plan
from morello.envs.labyrinth.oracle.scores import episode_returns
from morello.envs.labyrinth.textures import TEXTURES as NUMBERS
from morello.envs.labyrinth.textures import texture_table

from ....support.levels import distances, labyrinth, put, wait


def test_there_is_a_chain_of_each_length() -> None:
    names = [f"rooms_chain_{n}" for n in range(2, 13)]
    assert [name for name in LEVELS if name.startswith("rooms_chain")] == names
    assert [LEVELS[name].max_steps for name in names] == [45 * (n - 1) for n in LENGTHS]


@pytest.mark.parametrize("rooms", LENGTHS)
def test_the_way_leads_through_every_room(rooms: int) -> None:
    p = plan(LEVELS[f"rooms_chain_{rooms}"])
    ((kind, x, y),) = p.items
    assert kind == "vest"
    way = distances(p.walls, (int(p.starts[0][1] // 50), int(p.starts[0][0] // 50)))
    assert (way[p.open] >= 0).all()
    assert p.open.sum() == 16 * rooms + 2 * (rooms - 1)
    for wall in range(1, rooms):  # closed but for two cells, at alternating ends
        gap = np.flatnonzero(p.open[:, 5 * wall])
        assert gap.tolist() == ([3, 4] if wall % 2 else [1, 2])
    assert 5 * (rooms - 1) < x / 50 < 5 * rooms, "the vest is in the last room"
    assert p.open[int(y // 50), int((x - 36) // 50)], "and touched on entering it, in line with the opening"
    assert x - 36 > 50 * 5 * (rooms - 1) + 50, "not before"
    seen = [set(np.unique(p.walls[:, :, 5 * n + 1 : 5 * n + 5])) - {0, NUMBERS["brick_grey"]} for n in range(rooms)]
    assert seen == [{NUMBERS[texture]} for texture in list(TEXTURES.values())[:rooms]]


def test_rooms_look_different() -> None:
    """Any two by their mean colour, or by their contrast."""
    pages = np.stack([texture_table()[NUMBERS[texture]].reshape(-1, 3) for texture in TEXTURES.values()]).astype(float)
    looks = np.concatenate([pages.mean(1), pages.std(1)], axis=1)
    apart = np.linalg.norm(looks[:, None] - looks[None], axis=-1) + 1e3 * np.eye(len(looks))
    assert apart.min() > 30


def test_the_vest_ends_the_episode() -> None:
    env = labyrinth("rooms_chain_3", 50)
    assert env.world.position.tolist() == [[150, 150]] * 50
    assert len(env.world.heading.unique()) > 40
    put(env, env.world.item_position[:, 0] - torch.tensor([37.0, 0.0]))
    now = wait(env, 0)
    assert not now.last.any()
    put(env, env.world.item_position[:, 0] - torch.tensor([35.0, 0.0]))
    now = wait(env, 0)
    assert (now.reward == 1).all()
    assert (now.discount == 0).all()
    assert now.last.all()


@pytest.mark.parametrize("rooms", [2, 7, 12])
def test_the_oracle_takes_a_third_of_the_time(rooms: int) -> None:
    env = morello.make(f"labyrinth:rooms_chain_{rooms}", 5, seed=3, frame_size=(1, 1))
    player, now = env.oracle(), env.reset()
    steps, over = torch.zeros(5), torch.zeros(5, dtype=torch.bool)
    while not over.all():
        now = env.step(player(now))
        steps += ~over
        over |= now.last
        assert (now.reward == now.last.float())[~over].all()
    assert env.spec.max_steps is not None
    assert 0.25 < float(steps.mean()) / env.spec.max_steps < 0.42


def test_each_room_more_makes_reward_rarer_for_random_play() -> None:
    chance = [float(episode_returns(f"rooms_chain_{n}", "random", 3000, 1).mean()) for n in (2, 3, 4)]
    assert 0.07 < chance[0] < 0.13
    assert 0.1 < chance[1] / chance[0] < 0.25
    assert chance[2] < chance[1] / 2
    assert recorded_scores("rooms_chain_12")["random"]["mean"] == 0
