"""ViZDoom's scenarios (Kempka et al. 2016) through EnvPool, with ViZDoom's original rewards.

EnvPool reports its own shaped rewards and none of the scenario's: neither the living reward, nor the payments of the
level's script, nor anything for the step that ends an episode. The scenario's reward is reconstructed here from the
variables that EnvPool reports. It equals ViZDoom's except for what EnvPool does not report: the last step of an episode
counts as a complete one (its last tics may not have been played), and the script may pay the goal one step before the
episode ends, whereas here it is paid at the end. The last image of an episode that the task ended repeats the one
before, since nothing is drawn after the end.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .envpool import Info, Task, known, package


class Scenario(NamedTuple):
    """Rewards and duration of a scenario: ``tic`` per tic, ``end`` on termination, ``unit`` per unit of a game
    ``variable``. With ``shot``, a shot that ends the episode is not yet visible in the variable, and is charged at the
    end.
    """

    summary: str
    tics: int | None
    tic: float = 0.0
    end: float = 0.0
    variable: str | None = None
    unit: float = 0.0
    shot: bool = False
    buttons: tuple[str, ...] | None = None  # the scenario's buttons available as actions; None: all


SCREENS = ((160, 120), (200, 150), (256, 192), (320, 240), (400, 300), (512, 384), (640, 480))
"""Sizes in which Doom draws, (width, height), with square pixels."""
SCENARIOS: dict[str, Scenario] = {
    "Basic": Scenario(
        "shoot the monster across the room (+106; -5 per shot, -1 per tic)", 300, -1, 106, "AMMO2", 5, shot=True
    ),
    "SimplerBasic": Scenario("Basic with plain walls", 300, -1, 106, "AMMO2", 5, shot=True),
    "RocketBasic": Scenario("Basic with a rocket launcher", 300, -1, 106, "AMMO5", 5),
    "MyWayHome": Scenario(
        "eight rooms, a vest (+1) in one of them; 17 starts: the dense task of Pathak et al. 2017",
        2100,
        -0.0001,
        1,
        buttons=("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD"),
    ),
    "DefendTheCenter": Scenario("turn and shoot (+1 per kill, death -1) with 26 bullets", 2100, 0, -1, "KILLCOUNT", 1),
    "DefendTheLine": Scenario("turn and shoot (+1 per kill, death -1) at a far wall", None, 0, -1, "KILLCOUNT", 1),
    "HealthGathering": Scenario("an acid floor, medikits to survive (+1 per tic, death -100)", 2100, 1, -100),
    "HealthGatheringSupreme": Scenario("HealthGathering in a maze with poison (+1 per tic, death -100)", 2100, 1, -100),
    "TakeCover": Scenario("dodge fireballs (+1 per tic)", None, 1),
}
"""Scenarios whose rewards follow from EnvPool's reports, unlike PredictPosition, DeadlyCorridor and Deathmatch."""


class ScenarioRewards:
    """Rewards of a scenario for B environments, computed from EnvPool's game variables."""

    def __init__(self, scenario: Scenario, tics: int, num_envs: int) -> None:
        self.scenario, self.tics = scenario, tics
        self.before = np.zeros(num_envs)  # the variable at the previous row
        self.spent = np.zeros(num_envs, bool)  # shot fired in the previous step

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return [B] float64 reward, [B] bool discount."""
        s = self.scenario
        paid = self.tics * s.tic + s.end * terminated
        if s.variable is not None:
            now = info[s.variable]
            change = np.where(first, 0.0, now - self.before)
            paid = paid + s.unit * change
            if s.shot:
                paid = paid - s.unit * (terminated & ~self.spent)
                self.spent = change < 0
            self.before = now
        return np.where(first, 0.0, paid), ~terminated

    def begin(self, chosen: NDArray[Any], info: Info) -> None:
        """Begin new episodes where ``chosen``."""
        if self.scenario.variable is not None:
            self.before, self.spent = info[self.scenario.variable], self.spent & ~chosen


def pressed(name: str) -> tuple[str, ...]:
    """Return the actions of a scenario: none, or one of its buttons."""
    buttons = SCENARIOS[name].buttons or available(name)
    return "none", *(button.lower().replace("_", " ") for button in buttons)


def task(
    name: str, *, frame_size: tuple[int, int], frame_stack: int, action_repeat: int, time_limit: int | None = None
) -> Task:
    """Return the task ``vizdoom:name``, each action held for ``action_repeat`` tics; ``time_limit`` is in steps and
    defaults to the scenario's. UserError for unknown names.
    """
    scenario = SCENARIOS[known(name, SCENARIOS, "vizdoom")]
    buttons = available(name)
    table = np.array([[float(b == p) for b in buttons] for p in (None, *(scenario.buttons or buttons))])
    height, width = frame_size
    across, down = screen = resolution(frame_size)
    settings = {
        "img_height": height,
        "img_width": width,
        "stack_num": frame_stack,
        "frame_skip": action_repeat,
        # Bilinear interpolation takes a third of the time, but skips pixels if it has to shrink further.
        "use_inter_area_resize": across > 2 * width or down > 2 * height,
    }
    return Task(
        id=f"{name}-v1",
        name=name,
        settings=settings,
        limit=time_limit or -(-(scenario.tics or 2100) // action_repeat),
        actions=pressed(name),
        frames_per_step=action_repeat,
        variables=() if scenario.variable is None else (scenario.variable,),
        goal=scenario.end > 0,
        processes=True,
        buttons=table,
        rewards=lambda num_envs: ScenarioRewards(scenario, action_repeat, num_envs),
        prepare=lambda folder: prepared(name, screen, folder),
    )


def resolution(frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest screen (width, height) that is at least as wide and as high as a frame [height, width], or
    the largest there is. A screen of twice the width and height takes twice the time.
    """
    height, width = frame_size
    return next((screen for screen in SCREENS if screen[0] >= width and screen[1] >= height), SCREENS[-1])


def prepared(name: str, screen: tuple[int, int], folder: Path) -> dict[str, str]:
    """Write the scenario's configuration for a ``screen`` (width, height) into ``folder``, and return the settings to
    use it. The scenario's own time limit is left out: EnvPool cannot distinguish it from an end of the task.
    """
    (folder / "_vizdoom").mkdir()  # otherwise several simulators create it at once, and all but one fail
    text = configuration(name)
    for setting, value in (("episode_timeout", "0"), ("screen_resolution", "RES_{}X{}".format(*screen))):
        text = re.sub(rf"(?m)^\s*{setting}\s*=.*$", f"{setting} = {value}", text)
    path = folder / "scenario.cfg"
    path.write_text(text)
    return {"cfg_path": str(path)}


@cache
def available(name: str) -> tuple[str, ...]:
    """Return the buttons that a scenario's configuration file makes available, in its order."""
    text = re.sub(r"#.*", "", configuration(name))
    found = re.search(r"available_buttons\s*=\s*\{([^}]*)\}", text)
    assert found is not None, name
    return tuple(found[1].split())


def configuration(name: str) -> str:
    """Return the text of a scenario's configuration file."""
    return Path(package().make_spec(f"{name}-v1").config.cfg_path).read_text()
