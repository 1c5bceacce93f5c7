"""ViZDoom's scenarios (Kempka et al. 2016) as EnvPool simulates them, with the rewards that ViZDoom gives.

EnvPool reports shaped rewards of its own and none of the scenario's: neither the living reward, nor what the level's
script pays, nor anything for the step that ends an episode. What a scenario pays follows from what EnvPool does report,
and is made here. It equals ViZDoom's up to what EnvPool keeps to itself: the last step of an episode counts as a whole
one (its last tics may never have been played), and the script may pay the goal one step before the episode ends,
where here the end pays it. And the last image of an episode that the task ended is the one before: nothing is drawn
any more.
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
    """What a scenario pays and how long it lasts: ``tic`` each tic, ``end`` when it terminates, ``unit`` for each unit
    of a game ``variable``. A ``shot`` that ends the episode is not seen to be spent, and is charged at the end.
    """

    summary: str
    tics: int | None
    tic: float = 0.0
    end: float = 0.0
    variable: str | None = None
    unit: float = 0.0
    shot: bool = False
    buttons: tuple[str, ...] | None = None  # of the scenario's, those an action may press; None: all


SCENARIOS: dict[str, Scenario] = {
    "Basic": Scenario(
        "shoot the monster across the room (+106; a shot costs 5, a tic 1)", 300, -1, 106, "AMMO2", 5, shot=True
    ),
    "SimplerBasic": Scenario("Basic with plain walls", 300, -1, 106, "AMMO2", 5, shot=True),
    "RocketBasic": Scenario("Basic with a rocket launcher", 300, -1, 106, "AMMO5", 5),
    "MyWayHome": Scenario(
        "eight rooms, a vest (+1) in one of them; 17 starts: the dense task of Pathak et al. 2017",
        2100, -0.0001, 1, buttons=("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD"),
    ),
    "DefendTheCenter": Scenario("turn and shoot (+1 a kill, death -1) with 26 bullets", 2100, 0, -1, "KILLCOUNT", 1),
    "DefendTheLine": Scenario("turn and shoot (+1 a kill, death -1) at a far wall", None, 0, -1, "KILLCOUNT", 1),
    "HealthGathering": Scenario("an acid floor, medikits to live longer (+1 a tic, death -100)", 2100, 1, -100),
    "HealthGatheringSupreme": Scenario("the same in a maze, with poison (+1 a tic, death -100)", 2100, 1, -100),
    "TakeCover": Scenario("dodge fireballs (+1 a tic)", None, 1),
}  # fmt: skip
"""Those whose rewards follow from what EnvPool reports; PredictPosition's, DeadlyCorridor's and Deathmatch's do not."""


class ScenarioRewards:
    """A scenario's reward for B environments, from EnvPool's game variables."""

    def __init__(self, scenario: Scenario, tics: int, num_envs: int) -> None:
        self.scenario, self.tics = scenario, tics
        self.before = np.zeros(num_envs)  # the variable
        self.spent = np.zeros(num_envs, bool)  # by the step before

    def __call__(
        self, reward: NDArray[Any], terminated: NDArray[Any], first: NDArray[Any], info: Info
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """[B] float64 reward, [B] bool discount."""
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
        """New episodes where ``chosen``."""
        if self.scenario.variable is not None:
            self.before, self.spent = info[self.scenario.variable], self.spent & ~chosen


def pressed(name: str) -> tuple[str, ...]:
    """The actions of a scenario: none, or one of its buttons."""
    buttons = SCENARIOS[name].buttons or available(name)
    return "none", *(button.lower().replace("_", " ") for button in buttons)


def task(
    name: str, *, frame_size: tuple[int, int], frame_stack: int, action_repeat: int, time_limit: int | None = None
) -> Task:
    """Return the task ``vizdoom:name``, each action held for ``action_repeat`` tics; ``time_limit`` in steps, or else
    the scenario's. UserError for unknown names.
    """
    scenario = SCENARIOS[known(name, SCENARIOS, "vizdoom")]
    buttons = available(name)
    table = np.array([[float(b == p) for b in buttons] for p in (None, *(scenario.buttons or buttons))])
    height, width = frame_size
    settings = {"img_height": height, "img_width": width, "stack_num": frame_stack, "frame_skip": action_repeat}
    return Task(
        id=f"{name}-v1",
        name=name,
        settings=settings,
        limit=time_limit or -(-(scenario.tics or 2100) // action_repeat),
        actions=pressed(name),
        frames_per_step=action_repeat,
        variables=() if scenario.variable is None else (scenario.variable,),
        goal=scenario.end > 0,
        buttons=table,
        rewards=lambda num_envs: ScenarioRewards(scenario, action_repeat, num_envs),
        prepare=lambda folder: endless(name, folder),
    )


def endless(name: str, folder: Path) -> dict[str, str]:
    """A scenario without its own time limit, laid into ``folder``: where that strikes, EnvPool cannot tell it from an
    end of the task.
    """
    (folder / "_vizdoom").mkdir()  # which several simulators would otherwise make at once, and all but one fail
    path = folder / "scenario.cfg"
    path.write_text(re.sub(r"(?m)^\s*episode_timeout\s*=.*$", "episode_timeout = 0", configuration(name)))
    return {"cfg_path": str(path)}


@cache
def available(name: str) -> tuple[str, ...]:
    """The buttons that a scenario's configuration file makes available, in its order."""
    text = re.sub(r"#.*", "", configuration(name))
    found = re.search(r"available_buttons\s*=\s*\{([^}]*)\}", text)
    assert found is not None, name
    return tuple(found[1].split())


def configuration(name: str) -> str:
    """The text of a scenario's configuration file."""
    return Path(package().make_spec(f"{name}-v1").config.cfg_path).read_text()
