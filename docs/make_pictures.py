"""Draw docs/pictures/levels.png and exploration.png: levels as the agent sees them, larger, and from above.

python docs/make_pictures.py [levels] [exploration]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import morello
from morello.envs.labyrinth.levels import LEVELS
from morello.envs.labyrinth.topdown import topdown
from morello.envs.wrappers import unwrapped

HERE = Path(__file__).parent
SEEN, LARGE, PLACES, STEPS = 84, 252, 32, 90
EXPLORATION = (
    "rooms_chain_4",
    "rooms_chain_12",
    "multi_room_3d_4_5",
    "multi_room_3d_7_4",
    "nine_rooms",
    "nine_rooms_tv",
    "nine_rooms_remote",
    "my_way_home_sparse_noise",
)
LATER = ("rooms_chain", "multi_room_3d", "nine_rooms")
PICTURES = {
    "levels": [name for name, level in LEVELS.items() if not name.startswith(LATER) and not level.television],
    "exploration": list(EXPLORATION),
}


def picture(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one moment of a level: the agent's view, the same view larger, and the map with the path so far.

    The moment is chosen among those of random agents from many starts, for a wide view that also shows an item.
    """
    env = morello.make(f"labyrinth:{name}", PLACES, seed=7, frame_size=(SEEN, SEEN), depth=True)
    generator = torch.Generator().manual_seed(1)
    now = env.reset()
    trail, best = [now.info["position"].numpy().copy()], -1.0
    for _ in range(STEPS):
        action = torch.randint(0, env.spec.num_actions, (PLACES,), generator=generator)
        for _ in range(3):
            now = env.step(action)
            trail.append(now.info["position"].numpy().copy())
        score = interest(now.observation["image"].int(), now.observation["depth"])
        if float(score.max()) > best:
            best, b, length, moment = float(score.max()), int(score.argmax()), len(trail), env.state_dict()
    nobody = torch.zeros(PLACES, dtype=torch.bool)
    views = []
    for size in (SEEN, LARGE):  # the same moment, drawn again
        env = morello.make(f"labyrinth:{name}", PLACES, seed=7, frame_size=(size, size))
        env.load_state_dict(moment)
        views.append(env.reset(mask=nobody).observation["image"][b].numpy().copy())
    way, worlds = np.stack(trail[:length])[:, b], unwrapped(env)
    return views[0], views[1], topdown(worlds.world, worlds.tables, b, LARGE, LARGE * 3 // 2, way)


def interest(image: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Score the interest of views, [B]: mean log depth along the horizon, and saturated colours near the middle."""
    middle = image[:, SEEN // 4 : -SEEN // 5, SEEN // 6 : -SEEN // 6]
    vivid = ((middle.amax(-1) - middle.amin(-1)) > 130).float().mean((1, 2))
    return depth[:, SEEN // 2].clamp(20, 1500).log().mean(1) + 8 * vivid.clamp(max=0.1)


def main(title: str) -> None:
    """Write docs/pictures/TITLE.png."""
    names = PICTURES[title]
    rows = -(-len(names) // 2)
    figure, axes = plt.subplots(rows, 6, figsize=(15, 2.55 * rows), width_ratios=[2, 2, 3] * 2, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for n, name in enumerate(names):
        here = axes[n % rows, 3 * (n // rows) : 3 * (n // rows) + 3]
        for axis, image in zip(here, picture(name), strict=True):
            axis.imshow(image, interpolation="nearest")
        here[0].set_title(name, loc="left", fontsize=10, fontweight="bold")
        print(name)
    figure.tight_layout(pad=0.6)
    figure.savefig(HERE / "pictures" / f"{title}.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    for title in sys.argv[1:] or PICTURES:
        main(title)
