"""Recall: one arm pays, and behind the portal nothing tells which."""

import pytest
import torch

import morello

from ....support.levels import labyrinth, wait

IN = [0] * 6
"""From the start of a recall level into its portal."""

ALONG = [0] * 12
"""From its exit to the fork."""


@pytest.mark.parametrize(("turn", "arm"), [(1, "left"), (2, "right")])
def test_one_arm_pays_and_either_ends_the_episode(turn: int, arm: str) -> None:
    env = labyrinth("recall_left+recall_right", 2)
    for action in IN + ALONG + [turn] * 4:
        now = wait(env, action)
    assert not now.last.any()
    while not now.last.any():
        now = wait(env, 0)
    assert now.last.tolist() == [True, True]
    assert now.discount.tolist() == [0, 0]
    assert now.reward.tolist() == ([1, 0] if arm == "left" else [0, 1])


def test_behind_the_portal_nothing_tells_the_recall_levels_apart_nor_how_one_came() -> None:
    env = morello.make("labyrinth:recall_left+recall_right", 200, frame_size=(18, 24), seed=0)
    image = env.reset().observation["image"]
    assert (image[0] != image[1]).any(-1).float().mean() > 0.6, "a cue"
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(200, dtype=torch.bool)
    ways = torch.zeros(200, dtype=torch.int64)
    for _ in range(250):  # each its own way, and there it turns about until all are there
        action = torch.randint(3, (200,), generator=generator)
        env.step(torch.where(inside, 1, action))
        came = ~inside & (env.world.position[:, 0] > 300)
        ways[came] = env.world.tick[came].long()
        for name, at in (("position", [450, 250]), ("velocity", [0, 0]), ("heading", 0)):
            assert (getattr(env.world, name)[came] == torch.tensor(at)).all(), name
        inside |= came
    assert len(ways[inside].unique()) > 20
    assert inside.sum() > 100
    chosen = inside.nonzero()[:, 0]
    env.world.heading[chosen] = 0.0  # they waited for each other, turning on the spot
    for action in [0] * 6 + [1] * 4 + [2] * 4 + [0] * 6 + [1] * 4 + [0] * 3 + [2] * 8:  # to the fork, and about there
        seen = env.step(torch.full((200,), action)).observation["image"]
        assert (seen[chosen] == seen[chosen[0]]).all()
    assert not env.world.last.any()
