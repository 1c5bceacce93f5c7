"""A custom level, defined by data without a kernel: a corridor with a melon at its end and a lemon on the way.

python examples/custom_level.py            random play, and a picture of the level
"""

from pathlib import Path

import torch

import morello
from morello.envs.labyrinth.level import Blocks, Level
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.topdown import topdown

CORRIDOR = """
###########
#P   L   W#
#         #
###########
"""

LEVELS["lemon_corridor"] = Level(
    name="lemon_corridor",
    summary="A watermelon (+20) at the end of a corridor; pass the lemon (-1) on the free side.",
    layout=Blocks(CORRIDOR),
    seconds=20,
    wall="brick_red",
    floor="floor_grass",
)


def main(steps: int = 300) -> float:
    env = morello.make("labyrinth:lemon_corridor", num_envs=8, seed=0)
    env.reset()
    generator, total = torch.Generator().manual_seed(0), torch.zeros(8)
    for _ in range(steps):
        action = torch.randint(env.spec.num_actions, (8,), generator=generator)
        total += env.step(action).reward
    print(f"random play: {total.mean():.2f} an episode")
    return float(total.mean())


def picture(path: str = "lemon_corridor.png") -> None:
    import matplotlib.image

    env = morello.make("labyrinth:lemon_corridor", num_envs=1, seed=0)
    env.reset()
    matplotlib.image.imsave(path, topdown(env.world, env.tables, 0, 240, 600))
    print(f"map: {Path(path).resolve()}")


if __name__ == "__main__":
    main()
    picture()
