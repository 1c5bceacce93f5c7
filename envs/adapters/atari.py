"""Atari 2600 games (Bellemare et al. 2013) through EnvPool."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .envpool import Info, Task, known, tasks

ACTIONS = (
    "none",
    "fire",
    "up",
    "right",
    "left",
    "down",
    "up right",
    "up left",
    "down right",
    "down left",
    "up fire",
    "right fire",
    "left fire",
    "down fire",
    "up right fire",
    "up left fire",
    "down right fire",
    "down left fire",
)
"""All actions, in the Arcade Learning Environment's order."""

MINIMAL: dict[str, str] = {
    "0 1 3 4 11 12": "AirRaid Carnival DemonAttack Galaxian NameThisGame Pong SirLancelot SpaceInvaders",
    "0 2 3 4 5 6 7 8 9": "Asterix CrazyClimber Koolaid LostLuggage MsPacman",
    "0 1 2 3 4 5 10 11 12 13": "Amidar MrDo TimePilot WizardOfWor",
    "0 1 2 3 4 5": "BasicMath KingKong Qbert",
    "0 1 2 5 10 13": "Bowling Pooyan UpNDown",
    "0 2 3 4 5": "Frogger Pacman Surround",
    "0 1 2 3 4 5 6 7 8 9": "Othello TicTacToe3d VideoChess",
    "0 1 11 12": "Atlantis Atlantis2",
    "0 1 2 5": "Blackjack Casino",
    "0 1 3 4": "Breakout Kaboom",
    "0 1 2 3 4 11 12": "Assault",
    "0 1 2 3 4 5 6 7 10 11 12 13 14 15": "Asteroids",
    "1 3 4": "Backgammon",
    "0 1 2 3 4 6 7 11 12": "BeamRider",
    "0 1 3 4 5 8 9 11 12": "Enduro",
    "0 2 5": "Freeway",
    "0 1 2 3 4 10 11 12": "Gopher",
    "0 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17": "JourneyEscape",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 13": "KeystoneKapers",
    "0 2 3 4 5 8 9 11 12 13 14 15 16 17": "KungFuMaster",
    "0 1 3 4 5 11 12 13": "Phoenix",
    "0 3 4": "Skiing",
    "0 1 3 4 5": "Tetris",
    "0 1 2 3 4 5 6 7 8 9 11 12": "Turmoil",
    "0 2 3 4 5 10 11 12": "Tutankham",
    "1 6 7 8 9": "VideoCheckers",
    "0 1 2 3 4 5 10 11 12": "VideoPinball",
}
"""Minimal action sets, by number, of the games that do not use all actions, from the Arcade Learning Environment."""


class LifeLoss:
    """Sets discount 0 at the step that loses a life, while the episode goes on."""

    def __init__(self, num_envs: int) -> None:
        self.lives = np.zeros(num_envs, int)

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return [B] unchanged reward, [B] bool discount."""
        lost = (info["lives"] < self.lives) & ~first
        self.lives = info["lives"]
        return reward, ~(terminated | lost)

    def begin(self, chosen: NDArray[Any], info: Info) -> None:
        """Begin new episodes where ``chosen``."""
        self.lives = info["lives"]


def heeded(name: str) -> tuple[str, ...]:
    """Return the actions of a game."""
    few = next((numbers for numbers, games in MINIMAL.items() if name in games.split()), None)
    return ACTIONS if few is None else tuple(ACTIONS[int(k)] for k in few.split())


def task(
    name: str,
    *,
    frame_size: tuple[int, int],
    grey: bool,
    frame_stack: int,
    action_repeat: int,
    sticky_actions: float,
    life_loss: bool,
    time_limit: int | None = None,
) -> Task:
    """Return the task ``atari:name``. Each action is held for ``action_repeat`` frames, of which the last two are
    combined by their maximum; an episode begins with up to 30 frames without action and, where a game requires it, a
    press of fire. ``time_limit`` is in steps; the default is 108,000 frames. UserError for unknown names.
    """
    names = {i.removesuffix("-v5"): i for i in tasks("atari")}
    chosen = names[known(name, names, "atari")]
    settings = {
        "img_height": frame_size[0],
        "img_width": frame_size[1],
        "gray_scale": grey,
        "stack_num": frame_stack,
        "frame_skip": action_repeat,
        "repeat_action_probability": sticky_actions,
        "use_fire_reset": True,
    }
    return Task(
        id=chosen,
        name=name,
        settings=settings,
        limit=time_limit or -(-108_000 // action_repeat),
        actions=heeded(name),
        frames_per_step=action_repeat,
        variables=("lives",) if life_loss else (),
        rewards=LifeLoss if life_loss else None,
    )
