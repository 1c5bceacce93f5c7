"""Atari 2600 games (Bellemare et al. 2013) as EnvPool simulates them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .envpool import Info, Task, known, package, tasks

ACTIONS = (
    "none", "fire", "up", "right", "left", "down", "up right", "up left", "down right", "down left", "up fire",
    "right fire", "left fire", "down fire", "up right fire", "up left fire", "down right fire", "down left fire",
)  # fmt: skip
"""All there are, in the Arcade Learning Environment's order."""

MINIMAL: dict[str, str] = {
    "none, fire, right, left, right fire, left fire": "AirRaid Carnival DemonAttack Galaxian NameThisGame Pong SirLancelot SpaceInvaders",
    "none, up, right, left, down, up right, up left, down right, down left": "Asterix CrazyClimber Koolaid LostLuggage MsPacman",
    "none, fire, up, right, left, down, up fire, right fire, left fire, down fire": "Amidar MrDo TimePilot WizardOfWor",
    "none, fire, up, right, left, down": "BasicMath KingKong Qbert",
    "none, fire, up, down, up fire, down fire": "Bowling Pooyan UpNDown",
    "none, up, right, left, down": "Frogger Pacman Surround",
    "none, fire, up, right, left, down, up right, up left, down right, down left": "Othello TicTacToe3d VideoChess",
    "none, fire, right fire, left fire": "Atlantis Atlantis2",
    "none, fire, up, down": "Blackjack Casino",
    "none, fire, right, left": "Breakout Kaboom",
    "none, fire, up, right, left, right fire, left fire": "Assault",
    "none, fire, up, right, left, down, up right, up left, up fire, right fire, left fire, down fire, up right fire, up left fire": "Asteroids",
    "fire, right, left": "Backgammon",
    "none, fire, up, right, left, up right, up left, right fire, left fire": "BeamRider",
    "none, fire, right, left, down, down right, down left, right fire, left fire": "Enduro",
    "none, up, down": "Freeway",
    "none, fire, up, right, left, up fire, right fire, left fire": "Gopher",
    "none, up, right, left, down, up right, up left, down right, down left, right fire, left fire, down fire, up right fire, up left fire, down right fire, down left fire": "JourneyEscape",
    "none, fire, up, right, left, down, up right, up left, down right, down left, up fire, right fire, left fire, down fire": "KeystoneKapers",
    "none, up, right, left, down, down right, down left, right fire, left fire, down fire, up right fire, up left fire, down right fire, down left fire": "KungFuMaster",
    "none, fire, right, left, down, right fire, left fire, down fire": "Phoenix",
    "none, right, left": "Skiing",
    "none, fire, right, left, down": "Tetris",
    "none, fire, up, right, left, down, up right, up left, down right, down left, right fire, left fire": "Turmoil",
    "none, up, right, left, down, up fire, right fire, left fire": "Tutankham",
    "fire, up right, up left, down right, down left": "VideoCheckers",
    "none, fire, up, right, left, down, up fire, right fire, left fire": "VideoPinball",
}
"""The games that heed fewer actions than all, as the Arcade Learning Environment says of them."""


class LifeLoss:
    """Discount 0 at the step that loses a life, while the episode goes on."""

    def __init__(self, num_envs: int) -> None:
        self.lives = np.zeros(num_envs, int)

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """[B] reward as it is, [B] bool discount."""
        lost = (info["lives"] < self.lives) & ~first
        self.lives = info["lives"]
        return reward, ~(terminated | lost)

    def begin(self, chosen: NDArray[Any], info: Info) -> None:
        """New episodes where ``chosen``."""
        self.lives = info["lives"]


def task(
    name: str, *, height: int, width: int, grey: bool, stack: int, repeat: int, sticky: float, life_loss: bool
) -> Task:
    """The task ``atari:name``. Each action is held for ``repeat`` frames, of which the last two are joined by their
    maximum; an episode begins with up to 30 frames of doing nothing. UserError for unknown names.
    """
    names = {i.removesuffix("-v5"): i for i in tasks("atari")}
    chosen = names[known(name, names, "atari")]
    settings = {
        "img_height": height, "img_width": width, "gray_scale": grey, "stack_num": stack, "frame_skip": repeat,
        "repeat_action_probability": sticky, "max_episode_steps": -(-108_000 // repeat),
    }  # fmt: skip
    minimal = [group.split(", ") for group, games in MINIMAL.items() if name in games.split()]
    return Task(
        id=chosen,
        name=name,
        settings=settings,
        actions=tuple(minimal[0]) if minimal else ACTIONS,
        frames_per_step=repeat,
        variables=("lives",) if life_loss else (),
        rewards=LifeLoss if life_loss else None,
    )
